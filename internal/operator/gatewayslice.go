package operator

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
)

// GatewaySlice is an EndpointSlice of a Gateway's Service. It is there for load
// balancers that would not serve a Service without one; with HostNetwork it has
// the nodes where the Gateway answers, so that its Service leads there.
type GatewaySlice struct {
	Name    model.Name
	Service string // its name
	Owner   Owner
	Labels  map[string]string
	IPv6    bool // else IPv4
	// Endpoints answer at Ports, which are the Service's, too. Without Ports
	// there is nobody: who comes to the Service is led to Envoy.
	Endpoints []Endpoint
	Ports     []uint16
	// Held: what is there of that name stays as it is.
	Held bool
}

// Key is the slice's name.
func (s GatewaySlice) Key() string { return s.Name.String() }

// Endpoint is an address of a node.
type Endpoint struct {
	Address netip.Addr
	Node    string
}

// mostEndpoints is how many a slice has. More nodes than these are of no use
// to who comes by a Service, and each costs all nodes.
const mostEndpoints = 100

// slices makes the EndpointSlices of each Gateway's Service, in HostNetwork one
// of each family.
func (c *Cluster) slices(g *flow.Graph) {
	c.Slices = flow.Derive(g, "gateway slices", c.Services, flow.DeepEqual[GatewaySlice],
		func(r *flow.Reader, s GatewayService) []GatewaySlice {
			first := GatewaySlice{Name: s.Name, Service: s.Name.Name, Owner: s.Owner, Labels: s.Labels, Held: s.Held}
			if c.settings.HostNetwork == nil {
				return []GatewaySlice{first}
			}
			first.Ports = s.Ports
			second := first
			second.Name.Name += ".ipv6" // as a Gateway's own slice is never named
			second.IPv6 = true
			first.Endpoints, second.Endpoints = c.endpoints(r)
			return []GatewaySlice{first, second}
		})
}

// endpoints are the nodes whose Envoy answers for Gateways.
func (c *Cluster) endpoints(r *flow.Reader) (v4, v6 []Endpoint) {
	for _, n := range flow.Select(r, c.hosts, anyKey) {
		for _, a := range n.within {
			if a.Is4() {
				v4 = append(v4, Endpoint{a, n.name})
			} else {
				v6 = append(v6, Endpoint{a, n.name})
			}
		}
	}
	first := func(all []Endpoint) []Endpoint {
		slices.SortFunc(all, func(a, b Endpoint) int { return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.Node, b.Node)) })
		all = slices.CompactFunc(all, func(a, b Endpoint) bool { return a.Address == b.Address })
		return all[:min(len(all), mostEndpoints)]
	}
	return first(v4), first(v6)
}
