package agent

import (
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	waggle "github.com/waggle-mesh/waggle/api/waggle.io/v1alpha1"
	"github.com/waggle-mesh/waggle/internal/envoyconfig"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/gateway"
	"github.com/waggle-mesh/waggle/internal/gateway/field"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
)

// EnvoyInputs are the tables that say what Envoys are to do.
type EnvoyInputs struct {
	NodeInputs
	Configs     *flow.Table[model.Object[*ciliumv2.CiliumEnvoyConfig]]
	Clusterwide *flow.Table[model.Object[*ciliumv2.CiliumClusterwideEnvoyConfig]]
	Secrets     *flow.Table[model.Object[*corev1.Secret]]    // the copies that listeners present
	Answers     *flow.Table[model.Object[*waggle.EnvoyNode]] // this node's own
	Grants      *flow.Table[model.Object[*gatewayv1.ReferenceGrant]]
	// GeneratedOnly leaves out all that the operator has not made.
	GeneratedOnly bool
	// AllowUnsafe lets clusterwide objects do anything.
	AllowUnsafe bool
}

// NewEnvoyInputs makes the tables beside those of the node, empty.
func NewEnvoyInputs(g *flow.Graph, node NodeInputs) EnvoyInputs {
	return EnvoyInputs{
		NodeInputs:  node,
		Configs:     objects[*ciliumv2.CiliumEnvoyConfig](g, "CiliumEnvoyConfig"),
		Clusterwide: objects[*ciliumv2.CiliumClusterwideEnvoyConfig](g, "CiliumClusterwideEnvoyConfig"),
		Secrets:     objects[*corev1.Secret](g, "Secret"),
		Answers:     objects[*waggle.EnvoyNode](g, "EnvoyNode"),
		Grants:      objects[*gatewayv1.ReferenceGrant](g, "ReferenceGrant"),
	}
}

// EnvoyConfigs makes of objects what the pipeline to Envoy reads:
//
//	objects ─▶ Parsed ─▶ Served ─┬─▶ offers, fragments, hosts, assignments
//	                             └─▶ claims ─▶ redirects
//
// Of an object that is not valid any more, Served keeps what it last asked for
// when it was; of one that may not reach what it reaches for, nothing.
type EnvoyConfigs struct {
	Parsed *flow.Table[Config]
	Served *flow.Table[Config]

	in      EnvoyInputs
	changed []flow.Change[Config] // of Parsed, since the last Settle
}

// Config is what an object asks for on this node.
type Config struct {
	envoyconfig.Parsed
	Generation int64
	Generated  bool // the operator has made it
	Part       bool // of another one,
	Whole      model.Ref
}

// Key is the object's.
func (c Config) Key() string { return c.Object.Key() }

// NewEnvoyConfigs adds what reads the objects to g; self is the node's name.
func NewEnvoyConfigs(g *flow.Graph, in EnvoyInputs, self string) *EnvoyConfigs {
	e := &EnvoyConfigs{in: in}
	labels := flow.Derive(g, "the node's labels", in.Nodes, nodeLabels.equal,
		func(_ *flow.Reader, n model.Object[*corev1.Node]) []nodeLabels {
			if n.Name.Name != self {
				return nil
			}
			return []nodeLabels{{n.Value.Labels}}
		})
	world := e.world()
	parse := func(r *flow.Reader, o envoyconfig.Object) []Config {
		if node, ok := flow.Get(r, labels, selfKey); !ok || !o.Selects(node.labels) || in.GeneratedOnly && !o.Generated() {
			return nil
		}
		parsed := envoyconfig.Parse(o, world(r))
		c := Config{Parsed: parsed, Generation: o.Meta.Generation, Generated: o.Generated(), Part: o.Part()}
		if c.Part {
			c.Whole = model.Ref{Kind: o.Ref.Kind, Name: model.Name{Namespace: o.Ref.Namespace, Name: o.Meta.Labels[ciliumv2.LabelPartOf]}}
		}
		return []Config{c}
	}
	e.Parsed = flow.Union(g, "configs", same[Config],
		flow.Derive(g, "namespaced configs", in.Configs, same[Config],
			func(r *flow.Reader, c model.Object[*ciliumv2.CiliumEnvoyConfig]) []Config {
				return parse(r, envoyconfig.Of(c.Value))
			}),
		flow.Derive(g, "clusterwide configs", in.Clusterwide, same[Config],
			func(r *flow.Reader, c model.Object[*ciliumv2.CiliumClusterwideEnvoyConfig]) []Config {
				return parse(r, envoyconfig.OfClusterwide(c.Value))
			}))
	e.Served = flow.NewTable(g, "served configs", same[Config])
	e.Parsed.OnChange(func(changes []flow.Change[Config]) { e.changed = append(e.changed, changes...) })
	return e
}

// world is what objects are judged by.
func (e *EnvoyConfigs) world() func(*flow.Reader) envoyconfig.World {
	grants := flow.NewIndex(e.in.Grants, func(grant model.Object[*gatewayv1.ReferenceGrant]) []string { return []string{grant.Name.Namespace} })
	owned := flow.NewIndex(e.in.Services, func(s model.Object[*corev1.Service]) []string { return envoyconfig.AddressKeys(s.Value) })
	return func(r *flow.Reader) envoyconfig.World {
		return envoyconfig.World{
			Service: func(name model.Name) *corev1.Service {
				s, _ := flow.Get(r, e.in.Services, name.String())
				return s.Value
			},
			Granted: func(from string, to model.Name) bool {
				referrer := field.Referrer{Group: ciliumv2.GroupVersion.Group, Kind: envoyconfig.Namespaced, Namespace: from}
				return field.Permitted(grantReader{r, grants}, referrer, "Service", to)
			},
			Owns: func(namespace string, a netip.Addr) bool {
				return flow.Count(r, owned, envoyconfig.AddressKey(namespace, a)) > 0
			},
			AllowUnsafe: e.in.AllowUnsafe,
		}
	}
}

// grantReader reads ReferenceGrants, with every read on record.
type grantReader struct {
	r      *flow.Reader
	grants *flow.Index[model.Object[*gatewayv1.ReferenceGrant]]
}

// Grants are those of a namespace.
func (g grantReader) Grants(namespace string) (out []*gatewayv1.ReferenceGrant) {
	for _, grant := range flow.Select(g.r, g.grants, namespace) {
		out = append(out, grant.Value)
	}
	return out
}

const selfKey = "self"

// nodeLabels are this node's.
type nodeLabels struct{ labels map[string]string }

// Key is always the same.
func (nodeLabels) Key() string { return selfKey }

func (a nodeLabels) equal(b nodeLabels) bool { return maps.Equal(a.labels, b.labels) }

// Settle is called after a commit. It tells whether the graph must be committed
// again before anything is published.
func (e *EnvoyConfigs) Settle() (again bool) {
	for _, c := range e.changed {
		switch {
		case !c.HasNew, revoked(c.New):
			e.Served.Delete(c.Key)
			again = true
		case len(c.New.Problems) == 0:
			e.Served.Set(c.New)
			again = true
		}
	}
	e.changed = nil
	return again
}

// revoked tells of an object that may not do what it asks for. That may have
// been taken from it, by a ReferenceGrant that went or an address that is
// another's now, and what it last asked for would go on with it.
func revoked(c Config) bool {
	return slices.ContainsFunc(c.Problems, func(p envoyconfig.Problem) bool {
		return p.Reason == envoyconfig.ReasonRefused || p.Reason == envoyconfig.ReasonRefNotPermitted
	})
}

// Inputs adds what makes resources of the objects to g.
func (e *EnvoyConfigs) Inputs(g *flow.Graph, node render.Node) ProxyInputs {
	fragments := e.fragments(g)
	byHost := flow.NewIndex(fragments, func(f render.Fragment) []string { return []string{f.HostKey()} })
	return ProxyInputs{
		Offers: flow.Derive(g, "offers", e.Served, Offer.Equal, func(_ *flow.Reader, c Config) (out []Offer) {
			for _, r := range c.Resources {
				out = append(out, Offer{ProxyResource: r, Object: c.Object})
			}
			return out
		}),
		Fragments: flow.Derive(g, "users' fragments", e.Served, model.RouteFragment.Equal, func(_ *flow.Reader, c Config) []model.RouteFragment {
			if c.Generated {
				return nil
			}
			return c.Fragments
		}),
		Hosts: flow.Derive(g, "hosts", flow.Keys(g, "host names", byHost), render.Host.Equal, func(r *flow.Reader, k flow.KeyRow) []render.Host {
			return []render.Host{render.HostOf(flow.Select(r, byHost, k.Key()))}
		}),
		Assignments: flow.Derive(g, "assignments", e.Served, flow.Equal[model.Assignment], func(_ *flow.Reader, c Config) []model.Assignment {
			return c.Assignments
		}),
		Redirects: e.redirects(g),
		Secrets:   e.secrets(g),
		Services:  e.in.Services, EndpointSlices: e.in.EndpointSlices,
		Numbers: flow.NewTable(g, "listener numbers", flow.Equal[ListenerNumber]),
		Node:    node,
	}
}

// fragments are those of generated objects.
func (e *EnvoyConfigs) fragments(g *flow.Graph) *flow.Table[render.Fragment] {
	return flow.Derive(g, "fragments", e.Served, render.Fragment.Equal, func(_ *flow.Reader, c Config) (out []render.Fragment) {
		if !c.Generated {
			return nil
		}
		for _, f := range c.Fragments {
			if fragment, err := render.FragmentOf(f); err == nil { // the operator's own are well formed
				out = append(out, fragment)
			}
		}
		return out
	})
}

// redirects settles who has a Service's ports.
func (e *EnvoyConfigs) redirects(g *flow.Graph) *flow.Table[model.ServiceRedirect] {
	claims := flow.Derive(g, "claims", e.Served, envoyconfig.Claim.Equal, func(_ *flow.Reader, c Config) []envoyconfig.Claim {
		return c.Claims
	})
	byService := flow.NewIndex(claims, func(c envoyconfig.Claim) []string { return []string{c.Service.String()} })
	return flow.Derive(g, "redirects", flow.Keys(g, "claimed Services", byService), same[model.ServiceRedirect],
		func(r *flow.Reader, k flow.KeyRow) []model.ServiceRedirect {
			s, _ := flow.Get(r, e.in.Services, k.Key())
			redirects, _ := envoyconfig.Settle(s.Value, flow.Select(r, byService, k.Key()))
			return redirects
		})
}

// secrets are those that can be presented.
func (e *EnvoyConfigs) secrets(g *flow.Graph) *flow.Table[model.Resource] {
	return flow.Derive(g, "certificates", e.in.Secrets, model.Resource.Equal, func(_ *flow.Reader, s model.Object[*corev1.Secret]) []model.Resource {
		c := gateway.SecretCertificate(s.Value)
		if c.Problem != "" {
			return nil
		}
		return []model.Resource{render.Certificate(c.Certificate)}
	})
}
