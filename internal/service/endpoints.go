// Package service translates Services and EndpointSlices: to the addresses
// behind a Service's port for Envoy, to frontends and sets of backends for the
// kernel.
//
// It is a stage: pure functions, which take what Kubernetes says and never
// fail. A Service without usable endpoints has an empty list, which Envoy
// answers with 503 at once and the kernel with a rejection. What of a Service
// is not supported, Unsupported says.
package service

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/waggle-mesh/waggle/internal/model"
)

// Port finds the Service's TCP port of the given number.
func Port(service *corev1.Service, number uint16) (corev1.ServicePort, bool) {
	for _, p := range service.Spec.Ports {
		if p.Port == int32(number) && (p.Protocol == "" || p.Protocol == corev1.ProtocolTCP) {
			return p, true
		}
	}
	return corev1.ServicePort{}, false
}

// Endpoints are the addresses behind a port of a Service: the ready ones,
// or, while there is none, those that are terminating and still serve
// (KEP-1669). A Service or port that does not exist has none, and so has a
// Service of type ExternalName: a name is no address, and would let whoever
// may write Services reach any host. Neither counts loopback, which is another
// host on each node, though the API server does not take it either.
func Endpoints(name model.Name, number uint16, service *corev1.Service, endpointSlices []*discoveryv1.EndpointSlice) model.Endpoints {
	return endpoints(name, number, service, endpointSlices, func(_ discoveryv1.Endpoint, a netip.Addr) bool { return !a.IsLoopback() })
}

// EndpointsHere are the same for a mesh on one machine, where backends may
// listen on loopback.
func EndpointsHere(name model.Name, number uint16, service *corev1.Service, endpointSlices []*discoveryv1.EndpointSlice) model.Endpoints {
	return endpoints(name, number, service, endpointSlices, func(discoveryv1.Endpoint, netip.Addr) bool { return true })
}

func endpoints(name model.Name, number uint16, service *corev1.Service, endpointSlices []*discoveryv1.EndpointSlice, want func(discoveryv1.Endpoint, netip.Addr) bool) model.Endpoints {
	out := model.Endpoints{Service: name, Port: number}
	if service == nil || service.Spec.Type == corev1.ServiceTypeExternalName {
		return out
	}
	port, ok := Port(service, number)
	if !ok {
		return out
	}
	out.Addresses, _ = pick(endpointSlices, port.Name, model.TCP, want)
	return out
}

// slicePort is the number that the slice gives to the Service port of that
// name. Slices of host names (addressType FQDN) have none that can be used.
func slicePort(slice *discoveryv1.EndpointSlice, name string, protocol model.L4Protocol) (uint16, bool) {
	if slice.AddressType == discoveryv1.AddressTypeFQDN {
		return 0, false
	}
	for _, p := range slice.Ports {
		spoken := corev1.ProtocolTCP
		if p.Protocol != nil {
			spoken = *p.Protocol
		}
		if is, ok := protocolOf(spoken); !ok || is != protocol || p.Port == nil {
			continue
		}
		unnamed := p.Name == nil || *p.Name == ""
		if unnamed && name != "" || !unnamed && *p.Name != name {
			continue
		}
		if *p.Port < 1 || *p.Port > 65535 {
			continue
		}
		return uint16(*p.Port), true
	}
	return 0, false
}

// addressOf is an endpoint's address. Only the first counts: the API calls
// the others alternatives that consumers ignore. Addresses that mean another
// host on each node are none, though the API server does not take them either:
// whoever may write slices would reach what listens on nodes for nobody else.
func addressOf(e discoveryv1.Endpoint) (netip.Addr, bool) {
	if len(e.Addresses) == 0 {
		return netip.Addr{}, false
	}
	address, err := netip.ParseAddr(e.Addresses[0])
	if err != nil || address.Zone() != "" || address.Is4In6() || address.IsUnspecified() ||
		address.IsMulticast() || address.IsLinkLocalUnicast() || address == broadcast {
		return netip.Addr{}, false
	}
	return address, true
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// isReady: a condition that is not known counts as true.
func isReady(e discoveryv1.Endpoint) bool {
	return e.Conditions.Ready == nil || *e.Conditions.Ready
}

// isServing tells whether the endpoint is on its way out and still answers.
func isServing(e discoveryv1.Endpoint) bool {
	c := e.Conditions
	return c.Terminating != nil && *c.Terminating && (c.Serving == nil || *c.Serving)
}
