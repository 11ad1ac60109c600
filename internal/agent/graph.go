// Package agent is the pipeline of a node: from listeners, virtual hosts and
// backends, and from the Services and EndpointSlices behind them, to the
// resources of the node's Envoy.
//
//	Listeners ─────────────────────────────▶ Listener
//	VirtualHosts ─▶ hosts ─▶ tables ───────▶ RouteConfiguration
//	                  └─▶ (scoped tables) ─▶ ScopedRoute, RouteConfiguration
//	Backends ──────────────────────────────▶ Cluster
//	   └─▶ Services, EndpointSlices ───────▶ ClusterLoadAssignment
//	Certificates ──────────────────────────▶ Secret
//
// New puts the pipeline into a flow.Graph; whoever owns the graph commits and
// publishes.
package agent

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
	"github.com/waggle-mesh/waggle/internal/service"
)

// Inputs are the tables that the pipeline reads.
type Inputs struct {
	Listeners    *flow.Table[model.Listener]
	VirtualHosts *flow.Table[model.VirtualHost]
	Backends     *flow.Table[model.Backend]
	Certificates *flow.Table[model.Certificate]

	Services       *flow.Table[model.Object[*corev1.Service]]
	EndpointSlices *flow.Table[model.Object[*discoveryv1.EndpointSlice]]

	// Address says where a listener is to be bound, and false while that is
	// not known; the listener waits.
	Address func(*flow.Reader, model.Listener) (netip.Addr, bool)
	// ExclusivePorts is set where Envoy binds ports that others may hold.
	ExclusivePorts bool
	// RouteTables says how route tables are served.
	RouteTables RouteTables
}

// RouteTables is a way to serve route tables.
type RouteTables string

// Ways to serve route tables. Tests force one; users have no reason to.
const (
	Auto   RouteTables = "auto"   // by the number of hosts in the table
	Plain  RouteTables = "plain"  // one RouteConfiguration a table
	Scoped RouteTables = "scoped" // one RouteConfiguration a host
)

// Graph is the pipeline.
type Graph struct {
	in      Inputs
	mode    RouteTables
	hosts   *flow.Table[render.Host]
	sizes   *flow.Table[size]
	resized []flow.Change[size]      // since the last Settle
	scoped  *flow.Table[flow.KeyRow] // the tables that are served by scopes
	refused map[string]bool          // the tables that Envoy has refused as a whole
	pending map[string]flow.Change[model.Resource]
}

// New adds the pipeline to g.
func New(g *flow.Graph, in Inputs) *Graph {
	a := newGraph(g, in.RouteTables)
	a.in = in
	a.clusters(g)
	a.loadAssignments(g)
	a.certificates(g)
	a.hosts = flow.Derive(g, "hosts", in.VirtualHosts, render.Host.Equal,
		func(_ *flow.Reader, v model.VirtualHost) []render.Host {
			return []render.Host{render.VirtualHost(v)}
		})
	a.routes(g, flow.Derive(g, "used route tables", in.Listeners, equal[tableUse],
		func(_ *flow.Reader, l model.Listener) (out []tableUse) {
			for _, c := range l.Chains {
				out = append(out, tableUse{l.Key(), c.Table})
			}
			return out
		}))
	a.listeners(g)
	return a
}

func newGraph(g *flow.Graph, mode RouteTables) *Graph {
	return &Graph{
		mode: mode, refused: map[string]bool{}, pending: map[string]flow.Change[model.Resource]{},
		scoped: flow.NewTable(g, "scoped tables", equal[flow.KeyRow]),
	}
}

// Outcomes takes note of route tables that Envoy refuses as a whole: Settle
// has them served by scopes, so that the host that Envoy means keeps no other
// from changing, and its objects alone are told.
func (a *Graph) Outcomes(outcomes []model.Outcome) {
	for _, o := range outcomes {
		if o.Type != model.RouteConfiguration || o.State != model.Rejected || a.refused[o.Name] {
			continue
		}
		if s, ok := a.sizes.Get(o.Name); ok { // else it is a single host's
			a.refused[o.Name] = true
			a.resized = append(a.resized, flow.Change[size]{Key: o.Name, New: s, HasNew: true})
		}
	}
}

// Settle is called after a commit. It changes how route tables are served
// where their sizes ask for it, and tells whether the graph must be committed
// again before anything is published.
func (a *Graph) Settle() (again bool) {
	for _, c := range a.resized {
		if !c.HasNew {
			delete(a.refused, c.Key)
		}
		_, is := a.scoped.Get(c.Key)
		if want := c.HasNew && a.wantsScopes(c.New, is); want && !is {
			a.scoped.Set(flow.KeyRow(c.Key))
			again = true
		} else if !want && is {
			a.scoped.Delete(c.Key)
			again = true
		}
	}
	a.resized = nil
	return again
}

func (a *Graph) wantsScopes(s size, is bool) bool {
	switch {
	case a.mode == Plain:
		return false
	case a.mode == Scoped, a.refused[s.table]:
		return true
	case is:
		// Where all hosts go at once there is nothing to be served better,
		// and connections that are being drained must not find what is gone.
		return s.hosts > render.ScopedUntil || s.hosts == 0
	}
	return s.hosts > render.ScopedAbove
}

// ScopedTables counts the route tables that are served by scopes.
func (a *Graph) ScopedTables() int { return a.scoped.Len() }

// Changes are the resources that changed since the last call.
func (a *Graph) Changes() (changed []model.Resource, removed []model.ResourceKey) {
	for _, c := range a.pending {
		switch {
		case c.HasNew:
			changed = append(changed, c.New)
		case c.HadOld:
			removed = append(removed, c.Old.ResourceKey)
		}
	}
	slices.SortFunc(changed, func(a, b model.Resource) int { return strings.Compare(a.Key(), b.Key()) })
	slices.SortFunc(removed, func(a, b model.ResourceKey) int { return strings.Compare(a.Key(), b.Key()) })
	a.pending = map[string]flow.Change[model.Resource]{}
	return changed, removed
}

// publish makes the rows of a table part of Changes.
func (a *Graph) publish(t *flow.Table[model.Resource]) {
	t.OnChange(func(changes []flow.Change[model.Resource]) {
		for _, c := range changes {
			if first, ok := a.pending[c.Key]; ok {
				c.Old, c.HadOld = first.Old, first.HadOld
			}
			a.pending[c.Key] = c
		}
	})
}

func (a *Graph) clusters(g *flow.Graph) {
	a.publish(flow.Derive(g, "clusters", a.in.Backends, model.Resource.Equal,
		func(_ *flow.Reader, b model.Backend) []model.Resource {
			return []model.Resource{render.Cluster(b)}
		}))
}

func (a *Graph) loadAssignments(g *flow.Graph) {
	byEndpoints := flow.NewIndex(a.in.Backends, func(b model.Backend) []string { return []string{b.EndpointsKey()} })
	byService := slicesByService(a.in.EndpointSlices)
	endpoints := flow.Derive(g, "endpoints", flow.Keys(g, "service ports", byEndpoints), model.Endpoints.Equal,
		func(r *flow.Reader, k flow.KeyRow) []model.Endpoints {
			b, _ := flow.First(r, byEndpoints, k.Key())
			var slices []*discoveryv1.EndpointSlice
			for _, s := range flow.Select(r, byService, b.Service.String()) {
				slices = append(slices, s.Value)
			}
			owner, _ := flow.Get(r, a.in.Services, b.Service.String())
			return []model.Endpoints{service.EndpointsHere(b.Service, b.Port, owner.Value, slices)}
		})
	a.publish(flow.Derive(g, "load assignments", endpoints, model.Resource.Equal,
		func(_ *flow.Reader, e model.Endpoints) []model.Resource {
			return []model.Resource{render.LoadAssignment(e)}
		}))
}

func (a *Graph) certificates(g *flow.Graph) {
	a.publish(flow.Derive(g, "secrets", a.in.Certificates, model.Resource.Equal,
		func(_ *flow.Reader, c model.Certificate) []model.Resource {
			return []model.Resource{render.Certificate(c)}
		}))
}

func (a *Graph) listeners(g *flow.Graph) {
	a.publish(flow.Derive(g, "listeners", a.in.Listeners, model.Resource.Equal,
		func(r *flow.Reader, l model.Listener) []model.Resource {
			address, ok := a.in.Address(r, l)
			if !ok {
				return nil
			}
			return []model.Resource{render.Listener(l, render.ListenerOptions{
				Address:       address,
				ExclusivePort: a.in.ExclusivePorts,
				Scoped:        func(table string) bool { return a.isScoped(r, table) },
			})}
		}))
}
