package service

import (
	"net/netip"
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"
)

// Pair puts the addresses of a pod together, IPv4 before IPv6: in a dual-stack
// cluster each has an endpoint in slices of either family. Whose pod is not
// known stays alone.
func Pair(addresses []netip.AddrPort, endpointSlices []*discoveryv1.EndpointSlice) [][]netip.AddrPort {
	type target struct{ kind, namespace, name, uid string }
	behind := map[netip.Addr]target{}
	for _, slice := range endpointSlices {
		for _, e := range slice.Endpoints {
			if a, ok := addressOf(e); ok && e.TargetRef != nil {
				behind[a] = target{e.TargetRef.Kind, e.TargetRef.Namespace, e.TargetRef.Name, string(e.TargetRef.UID)}
			}
		}
	}
	type end struct {
		target target
		port   uint16
	}
	var out [][]netip.AddrPort
	at := map[end]int{}
	for _, a := range addresses {
		t, known := behind[a.Addr()]
		if i, ok := at[end{t, a.Port()}]; ok && known {
			out[i] = append(out[i], a)
			continue
		}
		at[end{t, a.Port()}] = len(out)
		out = append(out, []netip.AddrPort{a})
	}
	for _, group := range out {
		slices.SortFunc(group, netip.AddrPort.Compare) // IPv4 is less
	}
	return out
}
