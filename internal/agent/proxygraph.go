package agent

import (
	"net/netip"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
	"github.com/waggle-mesh/waggle/internal/service"
	"github.com/waggle-mesh/waggle/internal/xds"
)

// ProxyInputs are the tables that the pipeline to a node's Envoys reads.
type ProxyInputs struct {
	Offers      *flow.Table[Offer]
	Fragments   *flow.Table[model.RouteFragment]
	Hosts       *flow.Table[render.Host] // of generated route tables
	Assignments *flow.Table[model.Assignment]
	Redirects   *flow.Table[model.ServiceRedirect]
	Secrets     *flow.Table[model.Resource]

	Services       *flow.Table[model.Object[*corev1.Service]]
	EndpointSlices *flow.Table[model.Object[*discoveryv1.EndpointSlice]]

	// Numbers are the logical numbers of the listeners in ProxyGraph.Wanted,
	// which whoever owns the graph gives. A listener without one waits.
	Numbers *flow.Table[ListenerNumber]
	// Node is what the node adds to resources.
	Node render.Node
	// RouteTables says how route tables are served.
	RouteTables RouteTables
}

// Offer is a resource of one object. Several objects may offer the same one.
type Offer struct {
	model.ProxyResource
	Object model.Ref
}

// Key is unique per object and resource.
func (o Offer) Key() string { return model.Join(o.ResourceKey.Key(), o.Object.Key()) }

// Equal tells whether o and other are the same version of one offer.
func (o Offer) Equal(other Offer) bool {
	return o.Object == other.Object && o.ProxyResource.Equal(other.ProxyResource)
}

// ListenerNumber is the logical number of a listener, see redirect.Numbers.
type ListenerNumber struct {
	Listener string
	K        uint16
}

// Key is the listener's name.
func (n ListenerNumber) Key() string { return n.Listener }

// ProxyGraph is the pipeline of a node's Envoys:
//
//	Offers ─▶ resources ─┬─ Listeners, with a number ──▶ Listener
//	                     ├─ Clusters, with a source ───▶ Cluster
//	                     └─ the others ────────────────▶ as they are
//	Fragments ───────────┬─────────────────────────────▶ RouteConfiguration
//	Hosts ───────────────┴─▶ (scoped tables) ──────────▶ ScopedRoute, RouteConfiguration
//	Assignments ─▶ Services, EndpointSlices ───────────▶ ClusterLoadAssignment
//
// Changes, Settle and Outcomes are Graph's.
type ProxyGraph struct {
	*Graph
	// Wanted are the names of the listeners that need a number: those that a
	// Service's connections are led to. There are not numbers for everything
	// that objects may name.
	Wanted *flow.Table[flow.KeyRow]
	// Numbers are those that they were given.
	Numbers *flow.Table[ListenerNumber]
	// Redirects lead ports of Services to listeners.
	Redirects *flow.Table[model.ServiceRedirect]

	in        ProxyInputs
	resources *flow.Table[model.ProxyResource]
}

// NewProxy adds the pipeline to g.
func NewProxy(g *flow.Graph, in ProxyInputs) *ProxyGraph {
	p := &ProxyGraph{Graph: newGraph(g, in.RouteTables), Numbers: in.Numbers, Redirects: in.Redirects, in: in}
	byListener := flow.NewIndex(in.Redirects, func(r model.ServiceRedirect) []string { return []string{r.Listener} })
	p.merge(g)
	p.Wanted = flow.Derive(g, "wanted listeners", p.resources, equal[flow.KeyRow],
		func(r *flow.Reader, offered model.ProxyResource) []flow.KeyRow {
			if offered.Type != model.EnvoyListener || !render.IsLed(offered.Resource) || flow.Count(r, byListener, offered.Name) == 0 {
				return nil
			}
			return []flow.KeyRow{flow.KeyRow(offered.Name)}
		})
	p.hosts = in.Hosts
	p.routes(g, p.uses(g))
	p.fragments(g)
	p.fit(g)
	p.publish(in.Secrets)
	p.assignments(g)
	return p
}

// mostUsers is how many of users' listeners get numbers, of which there are
// 4,999: however many they name, some are left for the operator's.
const mostUsers = 4000

// WantedNames are those in Wanted that are to get numbers, the operator's
// first. Who has one keeps it.
func (p *ProxyGraph) WantedNames() []string {
	var generated, numbered, users []string
	for _, row := range p.Wanted.All() {
		name := string(row)
		switch _, has := p.Numbers.Get(name); {
		case p.offered(name).Generated:
			generated = append(generated, name)
		case has:
			numbered = append(numbered, name)
		default:
			users = append(users, name)
		}
	}
	users = append(numbered, users...)
	return append(generated, users[:min(len(users), mostUsers)]...)
}

// Unnumbered are the listeners in Wanted for which no number was left, as if
// Envoy had rejected them: nobody else can tell their authors.
func (p *ProxyGraph) Unnumbered() (out []xds.Status) {
	for _, row := range p.Wanted.All() {
		if _, ok := p.Numbers.Get(row.Key()); ok {
			continue
		}
		r := p.offered(string(row))
		out = append(out, xds.Status{
			ResourceKey: r.ResourceKey, State: model.Rejected, Owners: r.Owners, Wanted: true,
			Message: "the node has no port left for another listener",
		})
	}
	return out
}

// offered is the listener of a name.
func (p *ProxyGraph) offered(listener string) model.ProxyResource {
	r, _ := p.resources.Get(model.ResourceKey{Type: model.EnvoyListener, Name: listener}.Key())
	return r
}

// uses finds the generated route tables that listeners use.
func (p *ProxyGraph) uses(g *flow.Graph) *flow.Table[tableUse] {
	return flow.Derive(g, "used route tables", p.resources, equal[tableUse],
		func(_ *flow.Reader, offered model.ProxyResource) (out []tableUse) {
			if offered.Type != model.EnvoyListener || !offered.Generated {
				return nil
			}
			for _, table := range render.RouteTables(offered.Resource) {
				out = append(out, tableUse{offered.Name, table})
			}
			return out
		})
}

// merge makes one resource of all that objects offer under its name: that of
// the first object, or of a listener of the operator's, whose filter chains may
// stand in several objects, the whole. All objects are told what becomes of it.
func (p *ProxyGraph) merge(g *flow.Graph) {
	byResource := flow.NewIndex(p.in.Offers, func(o Offer) []string { return []string{o.ResourceKey.Key()} })
	p.resources = flow.Derive(g, "offered resources", flow.Keys(g, "offered names", byResource), model.ProxyResource.Equal,
		func(r *flow.Reader, k flow.KeyRow) []model.ProxyResource {
			offers := flow.Select(r, byResource, k.Key())
			row := offers[0].ProxyResource
			if len(offers) > 1 && row.Generated && row.Type == model.EnvoyListener {
				shares := make([]model.Resource, len(offers))
				for i, o := range offers {
					shares[i] = o.Resource
				}
				row.Resource = render.WholeListener(shares)
			}
			row.Owners = nil
			for _, o := range offers {
				row.Owners = append(row.Owners, o.Owners...)
			}
			slices.SortFunc(row.Owners, model.Ref.Compare)
			row.Owners = slices.Compact(row.Owners)
			return []model.ProxyResource{row}
		})
}

// fit gives resources what the node adds to them.
func (p *ProxyGraph) fit(g *flow.Graph) {
	p.publish(flow.Derive(g, "resources", p.resources, model.Resource.Equal,
		func(r *flow.Reader, offered model.ProxyResource) []model.Resource {
			source := render.FromIngress
			switch {
			case offered.KeepSource:
				source = render.FromClient
			case offered.Generated:
				source = render.FromGateway
			}
			switch offered.Type {
			case model.EnvoyListener:
				served := render.Scoped(offered.Resource, func(table string) bool { return p.isScoped(r, table) })
				if !render.IsLed(offered.Resource) {
					return []model.Resource{served}
				}
				number, ok := flow.Get(r, p.in.Numbers, offered.Name)
				if !ok {
					return nil
				}
				return []model.Resource{p.in.Node.Listener(served, number.K, source)}
			case model.Cluster:
				return []model.Resource{p.in.Node.Cluster(offered.Resource, source)}
			default:
				return []model.Resource{offered.Resource}
			}
		}))
}

// fragments publishes route tables that are not made of hosts.
func (p *ProxyGraph) fragments(g *flow.Graph) {
	byTable := flow.NewIndex(p.in.Fragments, func(f model.RouteFragment) []string { return []string{f.Table} })
	p.publish(flow.Derive(g, "user route tables", flow.Keys(g, "user tables", byTable), model.Resource.Equal,
		func(r *flow.Reader, k flow.KeyRow) []model.Resource {
			f, _ := flow.First(r, byTable, k.Key())
			return []model.Resource{{
				ResourceKey: model.ResourceKey{Type: model.RouteConfiguration, Name: f.Table}, Body: f.Body, Owners: []model.Ref{f.Owner},
			}}
		}))
}

// assignments renders the endpoints that clusters ask for.
func (p *ProxyGraph) assignments(g *flow.Graph) {
	byName := flow.NewIndex(p.in.Assignments, func(a model.Assignment) []string { return []string{a.Name} })
	bySlice := slicesByService(p.in.EndpointSlices)
	p.publish(flow.Derive(g, "load assignments", flow.Keys(g, "assigned names", byName), model.Resource.Equal,
		func(r *flow.Reader, k flow.KeyRow) []model.Resource {
			a, _ := flow.First(r, byName, k.Key())
			owner, _ := flow.Get(r, p.in.Services, a.Service.String())
			var all []*discoveryv1.EndpointSlice
			for _, s := range flow.Select(r, bySlice, a.Service.String()) {
				all = append(all, s.Value)
			}
			return []model.Resource{render.Assignment(a.Name, a.Service, endpointsOf(a, owner.Value, all))}
		}))
}

// endpointsOf are the addresses behind the ports that an assignment means.
func endpointsOf(a model.Assignment, owner *corev1.Service, all []*discoveryv1.EndpointSlice) [][]netip.AddrPort {
	if owner == nil {
		return nil
	}
	var out []netip.AddrPort
	for _, port := range owner.Spec.Ports {
		if a.Port == "" || a.Port == port.Name || a.Port == strconv.Itoa(int(port.Port)) {
			out = append(out, service.Endpoints(a.Service, uint16(port.Port), owner, all).Addresses...)
		}
	}
	slices.SortFunc(out, netip.AddrPort.Compare)
	return service.Pair(slices.Compact(out), all)
}

func slicesByService(table *flow.Table[model.Object[*discoveryv1.EndpointSlice]]) *flow.Index[model.Object[*discoveryv1.EndpointSlice]] {
	return flow.NewIndex(table, func(s model.Object[*discoveryv1.EndpointSlice]) []string {
		owner := model.Name{Namespace: s.Name.Namespace, Name: s.Value.Labels[discoveryv1.LabelServiceName]}
		return []string{owner.String()}
	})
}
