package agent

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/service"
)

// claim is a frontend of one Service, that another may want too.
type claim struct {
	model.Frontend
	since int64 // when the Service was created
}

func (c claim) Key() string { return model.Join(c.Service.String(), c.Frontend.Key()) }

// Unsupported is a Service or pod with fields that have no effect.
type Unsupported struct {
	Object model.Ref
	UID    string
	Fields []string // sentences that begin with the field
}

// Key is the object's.
func (u Unsupported) Key() string { return u.Object.Key() }

// before orders claims of one address and port, what holds first: an address
// that the cluster gave before one that whoever writes Services or pods may
// choose, else an external IP could take a ClusterIP that is yet to be given.
// Then the older has it.
func (c claim) before(other claim) int {
	switch {
	case c.rank() != other.rank():
		return c.rank() - other.rank()
	case c.since != other.since:
		return int(max(-1, min(1, c.since-other.since)))
	}
	return strings.Compare(c.Key(), other.Key())
}

func (c claim) rank() int {
	switch c.Kind {
	case model.ExternalIP:
		return 2
	case model.HostPort:
		return 1
	}
	return 0
}

// redirect is the listener that gets the connections of a frontend. Envoy gets
// those of a Service with backends from when it can take them, so that nobody
// is refused meanwhile.
func (n *NodeGraph) redirect(r *flow.Reader, byService *flow.Index[model.ServiceRedirect], f model.Frontend) string {
	if f.Protocol != model.TCP {
		return ""
	}
	for _, row := range flow.Select(r, byService, f.Service.String()) {
		if len(row.Ports) > 0 && !slices.Contains(row.Ports, f.Port) {
			continue
		}
		if _, live := flow.Get(r, n.in.Live, row.Listener); live || row.Alone {
			return row.Listener
		}
	}
	return ""
}

// services makes frontends and sets.
func (n *NodeGraph) services(g *flow.Graph) {
	byNode := flow.NewIndex(n.nodes, node.everywhere)
	ofServices := flow.Derive(g, "Services' claims", n.in.Services, flow.Equal[claim],
		func(r *flow.Reader, s model.Object[*corev1.Service]) (out []claim) {
			for _, f := range service.Frontends(s.Name, s.Value) {
				if f.Kind == model.ExternalIP {
					if _, taken := ofNode(r, byNode, f.Address.Addr()); taken {
						continue
					}
				}
				out = append(out, claim{f, s.Value.CreationTimestamp.Unix()})
			}
			return out
		})
	ofPods, setsOfPods := n.hostPorts(g)
	claims := flow.Union(g, "frontend claims", flow.Equal[claim], ofServices, ofPods)
	byAddress := flow.NewIndex(claims, func(c claim) []string { return []string{c.Frontend.Key()} })
	byService := flow.NewIndex(n.in.Redirects, func(r model.ServiceRedirect) []string { return []string{r.Service.String()} })
	n.Frontends = flow.Derive(g, "frontends", flow.Keys(g, "frontend addresses", byAddress), flow.Equal[model.Frontend],
		func(r *flow.Reader, k flow.KeyRow) []model.Frontend {
			f := slices.MinFunc(flow.Select(r, byAddress, k.Key()), claim.before).Frontend
			if _, covered := n.covered(r, byAddress, f); covered {
				return nil
			}
			f.Redirect = n.redirect(r, byService, f)
			return []model.Frontend{f}
		})
	n.Led = flow.Derive(g, "led frontends", n.Frontends, flow.Equal[model.Frontend], func(_ *flow.Reader, f model.Frontend) []model.Frontend {
		if f.Redirect == "" {
			return nil
		}
		return []model.Frontend{f}
	})
	n.BackendSets = flow.Union(g, "backend sets", same[model.BackendSet], n.setsOfServices(g), setsOfPods)
	n.Unsupported = flow.Union(g, "unsupported fields", same[Unsupported], n.unsupportedServices(g, byNode, byAddress), n.unsupportedPods(g, byAddress))
}

// covered finds who has the port of a frontend at all of the node's addresses,
// where the frontend is at one of them: both would be one entry of the map. Who
// has all of them holds.
func (n *NodeGraph) covered(r *flow.Reader, byAddress *flow.Index[claim], f model.Frontend) (by model.Frontend, covered bool) {
	addr := f.Address.Addr()
	if f.Kind == model.ClusterIP || addr.IsUnspecified() {
		return by, false
	}
	if self, _ := flow.Get(r, n.nodes, n.settings.Node); !slices.Contains(self.Addresses, addr) {
		return by, false
	}
	every := f
	every.Address = netip.AddrPortFrom(netip.PrefixFrom(addr, 0).Masked().Addr(), f.Address.Port())
	claims := flow.Select(r, byAddress, every.Key())
	if len(claims) == 0 {
		return by, false
	}
	return slices.MinFunc(claims, claim.before).Frontend, true
}

// unsupportedServices are Services with fields that have no effect.
func (n *NodeGraph) unsupportedServices(g *flow.Graph, byNode *flow.Index[node], byAddress *flow.Index[claim]) *flow.Table[Unsupported] {
	return flow.Derive(g, "unsupported fields of Services", n.in.Services, same[Unsupported],
		func(r *flow.Reader, s model.Object[*corev1.Service]) []Unsupported {
			fields := service.Unsupported(s.Value)
			for i, text := range s.Value.Spec.ExternalIPs {
				ip, err := netip.ParseAddr(text)
				if of, taken := ofNode(r, byNode, ip.Unmap()); err == nil && taken {
					fields = append(fields, fmt.Sprintf("spec.externalIPs[%d]: %s is an address of node %s; the Service does not answer there, or it could take the node's own ports", i, ip, of.Name))
				}
			}
			fields = append(fields, outdone(r, byAddress, s)...)
			if len(fields) > 0 {
				return []Unsupported{{model.Ref{Kind: "Service", Name: s.Name}, string(s.Value.UID), fields}}
			}
			return nil
		})
}

// outdone are the addresses of a Service that another has.
func outdone(r *flow.Reader, byAddress *flow.Index[claim], s model.Object[*corev1.Service]) (fields []string) {
	for _, f := range service.Frontends(s.Name, s.Value) {
		if f.Kind != model.ExternalIP && f.Kind != model.LoadBalancer {
			continue // the API server gives those once
		}
		claims := flow.Select(r, byAddress, f.Key())
		if len(claims) == 0 {
			continue
		}
		if first := slices.MinFunc(claims, claim.before); first.Service != s.Name {
			fields = append(fields, fmt.Sprintf("%s: %s has port %d of %s; this Service does not answer there", fieldOf(s.Value, f), first.Service, f.Address.Port(), f.Address.Addr()))
		}
	}
	return fields
}

// fieldOf is where a Service has the address of a frontend.
func fieldOf(s *corev1.Service, f model.Frontend) string {
	is := func(text string) bool {
		ip, err := netip.ParseAddr(text)
		return err == nil && ip.Unmap() == f.Address.Addr()
	}
	if f.Kind == model.ExternalIP {
		return fmt.Sprintf("spec.externalIPs[%d]", slices.IndexFunc(s.Spec.ExternalIPs, is))
	}
	at := slices.IndexFunc(s.Status.LoadBalancer.Ingress, func(i corev1.LoadBalancerIngress) bool { return is(i.IP) })
	return fmt.Sprintf("status.loadBalancer.ingress[%d].ip", at)
}

// setsOfServices are the backends that slices have.
func (n *NodeGraph) setsOfServices(g *flow.Graph) *flow.Table[model.BackendSet] {
	bySlice := slicesByService(n.in.EndpointSlices)
	sets := flow.Derive(g, "sets", n.in.Services, same[service.SetOf],
		func(_ *flow.Reader, s model.Object[*corev1.Service]) []service.SetOf {
			return service.Sets(service.Frontends(s.Name, s.Value), s.Value)
		})
	return flow.Derive(g, "Services' sets", sets, same[model.BackendSet],
		func(r *flow.Reader, set service.SetOf) []model.BackendSet {
			var all []*discoveryv1.EndpointSlice
			for _, s := range flow.Select(r, bySlice, set.Service.String()) {
				all = append(all, s.Value)
			}
			return []model.BackendSet{service.Backends(set, n.settings.Node, all)}
		})
}

// ofNode is the node that has an address.
func ofNode(r *flow.Reader, byNode *flow.Index[node], a netip.Addr) (node, bool) {
	return flow.First(r, byNode, a.String())
}
