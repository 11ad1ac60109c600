// Package operator is the pipeline of a cluster: from what users write, the
// objects of the Gateway API, to listeners, virtual hosts and backends, and
// to what is said of each object in its status.
//
//	CiliumGatewayClassConfig ─┐
//	GatewayClass ────────────▶ classes ─┐
//	Secret ─▶ certificates ──┬──────────┘
//	Gateway ─────────────────┴▶ gateways ─▶ Listeners ─▶ TakenPorts, Certificates
//	                               ├─▶ attachments ─▶ VirtualHosts
//	                               ▼        ▲
//	HTTPRoute ─▶ routes ◀─────── parents    │
//	               ├────────────────────────┘
//	               └─▶ Backends
//
// New puts the pipeline into a flow.Graph; whoever owns the graph commits.
package operator

import (
	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/api/cilium.io/v2alpha1"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/gateway"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Inputs are the tables that feeds fill.
type Inputs struct {
	Classes    *flow.Table[model.Object[*gatewayv1.GatewayClass]]
	Parameters *flow.Table[model.Object[*v2alpha1.CiliumGatewayClassConfig]]
	Gateways   *flow.Table[model.Object[*gatewayv1.Gateway]]
	HTTPRoutes *flow.Table[model.Object[*gatewayv1.HTTPRoute]]
	Grants     *flow.Table[model.Object[*gatewayv1.ReferenceGrant]]
	Services   *flow.Table[model.Object[*corev1.Service]]
	Secrets    *flow.Table[model.Object[*corev1.Secret]]
	Namespaces *flow.Table[model.Object[*corev1.Namespace]]
	// RuleFields are those that a rule of an HTTPRoute may have where it is
	// stored. Nil: all that there are.
	RuleFields *flow.Table[flow.KeyRow]
}

// NewInputs adds empty input tables to g.
func NewInputs(g *flow.Graph) Inputs {
	return Inputs{
		Classes:    Objects[*gatewayv1.GatewayClass](g, "GatewayClass"),
		Parameters: Objects[*v2alpha1.CiliumGatewayClassConfig](g, gateway.ParametersKind),
		Gateways:   Objects[*gatewayv1.Gateway](g, "Gateway"),
		HTTPRoutes: Objects[*gatewayv1.HTTPRoute](g, "HTTPRoute"),
		Grants:     Objects[*gatewayv1.ReferenceGrant](g, "ReferenceGrant"),
		Services:   Objects[*corev1.Service](g, "Service"),
		Secrets:    Objects[*corev1.Secret](g, "Secret"),
		Namespaces: Objects[*corev1.Namespace](g, "Namespace"),
	}
}

// Objects adds an empty table of the objects of one kind to g.
func Objects[T any](g *flow.Graph, kind string) *flow.Table[model.Object[T]] {
	return flow.NewTable(g, kind, model.Object[T].Equal)
}

// Settings are what the pipeline is told once.
type Settings struct {
	Stage gateway.Stage
	// ImpliedClass is the name of a GatewayClass of ours that is taken as
	// present while there is no GatewayClass at all. Empty: none.
	ImpliedClass string
}

// Graph is the pipeline. Its exported tables are its results.
type Graph struct {
	Listeners    *flow.Table[model.Listener]
	VirtualHosts *flow.Table[model.VirtualHost]
	Backends     *flow.Table[model.Backend]
	Certificates *flow.Table[model.Certificate]
	TakenPorts   *flow.Table[TakenPort] // Listeners that are not to be served

	Classes  *flow.Table[gateway.Class]
	Gateways *flow.Table[gateway.Gateway]
	Routes   *flow.Table[gateway.Route]

	ClassStatuses      *flow.Table[ClassStatus]
	ParametersStatuses *flow.Table[ParametersStatus]
	GatewayStatuses    *flow.Table[GatewayStatus]
	RouteStatuses      *flow.Table[RouteStatus]

	in           Inputs
	answers      Answers
	settings     Settings
	anyClass     *flow.Index[model.Object[*gatewayv1.GatewayClass]]
	expired      *flow.Table[flow.KeyRow] // ends of certificates that have passed
	grants       *flow.Index[model.Object[*gatewayv1.ReferenceGrant]]
	certificates *flow.Table[gateway.Certificate]
	parents      *flow.Table[gateway.Parent]
	expiry       expiry
	members      *flow.Index[mention[gateway.Membership]]
}

// anyKey is what all GatewayClasses are filed under.
const anyKey = "any"

// New adds the pipeline to g, behind its inputs.
func New(g *flow.Graph, in Inputs, answers Answers, settings Settings) *Graph {
	o := translate(g, in, answers, settings)
	o.statuses(g)
	return o
}

// translate adds the pipeline to g, but for statuses: they read answers that a
// cluster derives from what is made here.
func translate(g *flow.Graph, in Inputs, answers Answers, settings Settings) *Graph {
	o := &Graph{in: in, answers: answers, settings: settings, expiry: expiry{certificates: map[int64]int{}}}
	o.expired = flow.NewTable(g, "passed", flow.Equal[flow.KeyRow])
	o.anyClass = flow.NewIndex(in.Classes, func(model.Object[*gatewayv1.GatewayClass]) []string { return []string{anyKey} })
	o.grants = flow.NewIndex(in.Grants, func(grant model.Object[*gatewayv1.ReferenceGrant]) []string {
		return []string{grant.Name.Namespace}
	})
	o.classes(g)
	o.secrets(g)
	o.gateways(g)
	o.ports(g)
	o.routes(g)
	o.virtualHosts(g)
	o.backends(g)
	return o
}

func (o *Graph) classes(g *flow.Graph) {
	o.Classes = flow.Derive(g, "classes", o.in.Classes, flow.DeepEqual[gateway.Class],
		func(r *flow.Reader, c model.Object[*gatewayv1.GatewayClass]) []gateway.Class {
			return []gateway.Class{o.settings.Stage.Class(world{r, o}, c.Value)}
		})
}

func (o *Graph) secrets(g *flow.Graph) {
	o.certificates = flow.Derive(g, "certificates", o.in.Secrets, gateway.Certificate.Equal,
		func(_ *flow.Reader, s model.Object[*corev1.Secret]) []gateway.Certificate {
			return []gateway.Certificate{gateway.SecretCertificate(s.Value)}
		})
	o.certificates.OnChange(o.expiry.changed)
}

func (o *Graph) gateways(g *flow.Graph) {
	o.Gateways = flow.Derive(g, "gateways", o.in.Gateways, gateway.Gateway.Equal,
		func(r *flow.Reader, gw model.Object[*gatewayv1.Gateway]) []gateway.Gateway {
			return []gateway.Gateway{o.settings.Stage.Gateway(world{r, o}, gw.Value)}
		})
	o.parents = flow.Derive(g, "parents", o.Gateways, gateway.Parent.Equal,
		func(_ *flow.Reader, gw gateway.Gateway) []gateway.Parent {
			return []gateway.Parent{gw.Parent()}
		})
	o.Listeners = flow.Derive(g, "listener rows", o.Gateways, flow.DeepEqual[model.Listener],
		func(_ *flow.Reader, gw gateway.Gateway) []model.Listener {
			return gw.EnvoyListeners()
		})
	o.Certificates = flow.Derive(g, "certificate rows", flow.Keys(g, "presented", flow.NewIndex(o.Gateways, presented)), model.Certificate.Equal,
		func(r *flow.Reader, secret flow.KeyRow) []model.Certificate {
			c, ok := flow.Get(r, o.certificates, secret.Key())
			if !ok || c.Problem != "" {
				return nil
			}
			return []model.Certificate{c.Certificate}
		})
}

// presented are the keys of the certificates that a Gateway presents.
func presented(gw gateway.Gateway) []string {
	var keys []string
	for _, secret := range gw.Certificates() {
		keys = append(keys, secret.String())
	}
	return keys
}

func (o *Graph) routes(g *flow.Graph) {
	o.Routes = flow.Derive(g, "routes", o.in.HTTPRoutes, gateway.Route.Equal,
		func(r *flow.Reader, route model.Object[*gatewayv1.HTTPRoute]) []gateway.Route {
			return []gateway.Route{o.settings.Stage.HTTPRoute(world{r, o}, route.Value)}
		})
	o.members = mentions(g, "members", o.Routes, func(route gateway.Route) []gateway.Membership { return route.Memberships })
}

// virtualHosts gathers what Gateways and routes put into each host.
func (o *Graph) virtualHosts(g *flow.Graph) {
	own := flow.Derive(g, "listener attachments", o.Gateways, gateway.Attachment.Equal,
		func(_ *flow.Reader, gw gateway.Gateway) []gateway.Attachment { return gw.Attachments() })
	routed := flow.Derive(g, "route attachments", o.Routes, gateway.Attachment.Equal,
		func(_ *flow.Reader, route gateway.Route) []gateway.Attachment { return route.Attachments })
	all := flow.Union(g, "attachments", gateway.Attachment.Equal, own, routed)
	byHost := flow.NewIndex(all, func(a gateway.Attachment) []string { return []string{a.VirtualHostKey()} })
	o.VirtualHosts = flow.Derive(g, "virtual hosts", flow.Keys(g, "attached hosts", byHost), flow.DeepEqual[model.VirtualHost],
		func(r *flow.Reader, host flow.KeyRow) []model.VirtualHost {
			attachments := flow.Select(r, byHost, host.Key())
			return []model.VirtualHost{gateway.VirtualHost(attachments[0].Table, attachments[0].Host, attachments)}
		})
}

// backends are those that an attached route names, each once.
func (o *Graph) backends(g *flow.Graph) {
	byBackend := mentions(g, "uses", o.Routes, func(route gateway.Route) []model.Backend { return route.Backends })
	o.Backends = flow.Derive(g, "backends", flow.Keys(g, "used", byBackend), flow.Equal[model.Backend],
		func(r *flow.Reader, k flow.KeyRow) []model.Backend {
			u, _ := flow.First(r, byBackend, k.Key())
			return []model.Backend{u.of}
		})
}
