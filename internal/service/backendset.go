package service

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/waggle-mesh/waggle/internal/model"
)

// SetOf is a BackendSet that a frontend of the Service has, without backends.
type SetOf struct {
	model.BackendSet
	PortName string // of the Service's port, by which slices name theirs
}

// Sets are the BackendSets that a Service's frontends have.
func Sets(frontends []model.Frontend, service *corev1.Service) []SetOf {
	var out []SetOf
	for _, f := range frontends {
		for _, key := range []string{f.Internal, f.External} {
			if key == "" || slices.ContainsFunc(out, func(s SetOf) bool { return s.Key() == key }) {
				continue
			}
			set := model.BackendSet{Service: f.Service, Port: f.Port, Protocol: f.Protocol, Family: model.FamilyOf(f.Address.Addr())}
			set.Local = set.Key() != key
			out = append(out, SetOf{set, portName(service, f)})
		}
	}
	return out
}

func portName(service *corev1.Service, f model.Frontend) string {
	for _, p := range service.Spec.Ports {
		if protocol, ok := protocolOf(p.Protocol); ok && protocol == f.Protocol && p.Port == int32(f.Port) {
			return p.Name
		}
	}
	return ""
}

// Backends fills a set with the addresses that the Service's slices have for
// it: the ready ones or, while there is none, those that are terminating and
// still serve (KEP-1669); beside ready ones such are leaving. Of a local set all
// are those of the node. A slice with the label service.kubernetes.io/headless
// is for DNS alone.
func Backends(set SetOf, node string, endpointSlices []*discoveryv1.EndpointSlice) model.BackendSet {
	out := set.BackendSet
	endpointSlices = slices.DeleteFunc(slices.Clone(endpointSlices), func(s *discoveryv1.EndpointSlice) bool {
		return hasLabel(s.Labels, corev1.IsHeadlessService)
	})
	backends, leaving := pick(endpointSlices, set.PortName, set.Protocol, func(e discoveryv1.Endpoint, a netip.Addr) bool {
		return model.FamilyOf(a) == set.Family && !a.IsLoopback() && (!set.Local || e.NodeName != nil && *e.NodeName == node)
	})
	out.Backends = backends
	if set.Protocol == model.UDP {
		out.Leaving = leaving
	}
	return out
}

func hasLabel(labels map[string]string, name string) bool {
	_, ok := labels[name]
	return ok
}

// placeholder stands in the slices of a Service that a Gateway has, which has no
// backends of its own: without Envoy's listener nobody answers there.
var placeholder = netip.MustParseAddrPort("192.192.192.192:9999")

// pick gives the usable endpoints of a port, and those that still serve but are
// not to be used anew: sorted, without duplicates.
func pick(endpointSlices []*discoveryv1.EndpointSlice, port string, protocol model.L4Protocol, want func(discoveryv1.Endpoint, netip.Addr) bool) (usable, leaving []netip.AddrPort) {
	var ready, terminating []netip.AddrPort
	for _, slice := range endpointSlices {
		target, ok := slicePort(slice, port, protocol)
		if !ok {
			continue
		}
		for _, e := range slice.Endpoints {
			address, ok := addressOf(e)
			switch {
			case !ok || !want(e, address) || netip.AddrPortFrom(address, target) == placeholder:
			case isReady(e):
				ready = append(ready, netip.AddrPortFrom(address, target))
			case isServing(e):
				terminating = append(terminating, netip.AddrPortFrom(address, target))
			}
		}
	}
	if len(ready) == 0 {
		ready, terminating = terminating, nil
	}
	terminating = slices.DeleteFunc(terminating, func(a netip.AddrPort) bool { return slices.Contains(ready, a) })
	return sorted(ready), sorted(terminating)
}

func sorted(addresses []netip.AddrPort) []netip.AddrPort {
	slices.SortFunc(addresses, netip.AddrPort.Compare)
	return slices.Compact(addresses)
}
