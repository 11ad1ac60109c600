// Package standalone runs the whole pipeline in one process, without
// Kubernetes: manifests of a directory in, a stock Envoy on loopback
// addresses out.
//
//	manifest.Feed ─▶ operator ─▶ agent ─▶ xds.Server ─▶ Envoy
//	                    ▲ ▲                   │
//	 loopback addresses ┘ └──── outcomes ◀────┘
//
// The operator's and the agent's graphs are the ones that run in a cluster;
// here the rows of the one are handed straight to the other.
package standalone

import (
	"errors"
	"net/netip"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/gateway"
	"github.com/waggle-mesh/waggle/internal/manifest"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/operator"
)

// Names that manifests written for Cilium use.
const (
	Controller = "io.cilium/gateway-controller"
	Class      = "cilium"
)

// Graph is the whole pipeline. One goroutine owns it.
type Graph struct {
	tables   flow.Graph
	feed     *manifest.Feed
	operator *operator.Graph
	agent    *agent.Graph
	answers  operator.Answers
	requests *flow.Table[request]
	waiting  *flow.Table[request] // those that have had no answer
	backends *flow.Table[model.Backend]
	routes   *flow.Table[model.Object[*gatewayv1.HTTPRoute]]
	configs  *operator.EnvoyConfigs
	news     map[model.Ref][]model.Condition // of objects whose status changed
}

// GraphOptions are the pipeline's settings.
type GraphOptions struct {
	PortOffset  int // see gateway.Stage
	RouteTables agent.RouteTables
}

// request is a Gateway of ours that wants to answer somewhere.
type request struct {
	gateway model.Name
	// wanted is the value of the first of spec.addresses, if there is one.
	wanted string
}

func (r request) Key() string { return r.gateway.String() }

// NewGraph makes the pipeline, with nothing in it.
func NewGraph(options GraphOptions) *Graph {
	g := &Graph{news: map[model.Ref][]model.Condition{}}
	in := operator.NewInputs(&g.tables)
	slices := operator.Objects[*discoveryv1.EndpointSlice](&g.tables, "EndpointSlice")
	g.answers = operator.NewAnswers(&g.tables)
	g.operator = operator.New(&g.tables, in, g.answers, operator.Settings{
		Stage:        gateway.Stage{Controller: Controller, PortOffset: options.PortOffset},
		ImpliedClass: Class,
	})
	g.agent = agent.New(&g.tables, agent.Inputs{
		Listeners:      g.operator.Listeners,
		VirtualHosts:   g.operator.VirtualHosts,
		Backends:       g.operator.Backends,
		Certificates:   g.operator.Certificates,
		Services:       in.Services,
		EndpointSlices: slices,
		Address:        g.address,
		ExclusivePorts: true,
		RouteTables:    options.RouteTables,
	})
	g.backends, g.routes = g.operator.Backends, in.HTTPRoutes
	g.requests = flow.Derive(&g.tables, "address requests", in.Gateways, flow.Equal[request], g.request)
	g.waiting = flow.Derive(&g.tables, "unanswered requests", g.requests, flow.Equal[request], g.unanswered)
	configs := operator.NewEnvoyConfigInputs(&g.tables, in)
	g.configs = operator.NewEnvoyConfigs(&g.tables, configs)
	listen(g, g.configs.Statuses, envoyConfigNews)
	listen(g, g.configs.ClusterwideStatuses, envoyConfigNews)
	listen(g, g.operator.ClassStatuses, func(s operator.ClassStatus) (model.Ref, []model.Condition) { return s.Object, s.Conditions })
	listen(g, g.operator.GatewayStatuses, func(s operator.GatewayStatus) (model.Ref, []model.Condition) { return s.Object, s.Conditions })
	listen(g, g.operator.RouteStatuses, func(s operator.RouteStatus) (model.Ref, []model.Condition) { return s.Object, s.Conditions })
	g.feed = manifest.New(
		manifest.Kind(in.Classes), manifest.Kind(in.Parameters), manifest.Kind(in.Gateways), manifest.Kind(in.HTTPRoutes),
		manifest.Kind(in.Grants), manifest.Kind(in.Services), manifest.Kind(slices),
		manifest.Kind(in.Secrets), manifest.Kind(in.Namespaces),
		manifest.Kind(configs.Configs), manifest.Kind(configs.Clusterwide),
	)
	return g
}

// listen notes the conditions of the objects whose status changes.
func listen[T flow.Row](g *Graph, statuses *flow.Table[T], of func(T) (model.Ref, []model.Condition)) {
	statuses.OnChange(func(changes []flow.Change[T]) {
		for _, c := range changes {
			if c.HasNew {
				object, conditions := of(c.New)
				g.news[object] = conditions
			} else {
				object, _ := of(c.Old)
				g.news[object] = nil
			}
		}
	})
}

// takeNews gives the conditions of the objects whose status changed since the
// last call, none for those that are gone.
func (g *Graph) takeNews() map[model.Ref][]model.Condition {
	news := g.news
	g.news = map[model.Ref][]model.Condition{}
	return news
}

// address is where a Gateway answers.
func (g *Graph) address(r *flow.Reader, l model.Listener) (netip.Addr, bool) {
	a, ok := flow.Get(r, g.answers.Addresses, l.Gateway.String())
	if _, taken := flow.Get(r, g.operator.TakenPorts, l.Key()); taken || !ok || len(a.Addresses) == 0 {
		return netip.Addr{}, false
	}
	return a.Addresses[0], true
}

// request asks for an address for a Gateway of ours.
func (g *Graph) request(r *flow.Reader, object model.Object[*gatewayv1.Gateway]) []request {
	gw, ok := flow.Get(r, g.operator.Gateways, object.Key())
	if !ok || gw.Standing != gateway.Ours || !gw.Problem.OK() {
		return nil
	}
	out := request{gateway: object.Name}
	if wanted := object.Value.Spec.Addresses; len(wanted) > 0 {
		out.wanted = wanted[0].Value
	}
	return []request{out}
}

// unanswered is the request itself until there is a row for it.
func (g *Graph) unanswered(r *flow.Reader, wanted request) []request {
	if _, answered := flow.Get(r, g.answers.Addresses, wanted.Key()); answered {
		return nil
	}
	return []request{wanted}
}

// Commit brings everything up to date, and tells until when the clock changes
// nothing. The error is a mistake of ours, never of the user's; all that it
// does not name is up to date.
func (g *Graph) Commit(now time.Time) (until time.Time, err error) {
	for {
		err = errors.Join(err, g.tables.Commit())
		var passed bool
		until, passed = g.operator.Expire(now)
		if settled := !g.agent.Settle(); settled && !passed {
			return until, err
		}
	}
}

// Addressed tells whether every Gateway has an address, or a reason why not.
func (g *Graph) Addressed() bool { return g.waiting.Len() == 0 }

// Changes are the resources that changed since the last call: what Envoy is
// to be told. What Envoy said of those that are gone is forgotten.
func (g *Graph) Changes() (changed []model.Resource, removed []model.ResourceKey) {
	changed, removed = g.agent.Changes()
	for _, k := range removed {
		g.answers.Outcomes.Delete(k.Key())
	}
	return changed, removed
}

// Outcomes takes note of what Envoy said.
func (g *Graph) Outcomes(outcomes []model.Outcome) {
	g.agent.Outcomes(outcomes)
	for _, o := range outcomes {
		shown := o.Type == model.EnvoyListener || o.Type == model.Secret
		if shown || o.State == model.Rejected {
			g.answers.Outcomes.Set(o)
		} else {
			g.answers.Outcomes.Delete(o.Key())
		}
	}
}

// Conditions are those of all objects, sorted.
func (g *Graph) Conditions() []model.Condition {
	var out []model.Condition
	for _, s := range g.operator.ClassStatuses.All() {
		out = append(out, s.Conditions...)
	}
	for _, s := range g.operator.GatewayStatuses.All() {
		out = append(out, s.Conditions...)
	}
	for _, s := range g.operator.RouteStatuses.All() {
		out = append(out, s.Conditions...)
	}
	for _, s := range append(g.configs.Statuses.All(), g.configs.ClusterwideStatuses.All()...) {
		_, conditions := envoyConfigNews(s)
		out = append(out, conditions...)
	}
	return out
}
