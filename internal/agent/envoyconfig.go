package agent

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	waggle "github.com/waggle-mesh/waggle/api/waggle.io/v1alpha1"
	"github.com/waggle-mesh/waggle/internal/configworld"
	"github.com/waggle-mesh/waggle/internal/envoyconfig"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/gateway"
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
	// Remembered are the versions that an earlier agent kept, by key. One is
	// kept again where the newest version of the same object is not valid.
	Remembered map[string]KeptConfig
	// GeneratedOnly leaves out all that the operator has not made.
	GeneratedOnly bool
	// AllowUnsafe lets clusterwide objects do anything.
	AllowUnsafe bool
	// Balance are the Services that Envoy distributes requests of.
	Balance envoyconfig.Balance
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
//	objects ─▶ judged ─▶ Kept ─┬─▶ Served ─┬─▶ offers, fragments, hosts, assignments
//	        balanced Services ─┘           └─▶ claims ─▶ redirects
//
// Of each object Kept has the newest version that was valid, which is judged
// anew whenever the world changes: what it may not reach any more it loses,
// whatever its newest version looks like.
type EnvoyConfigs struct {
	Kept   *flow.Table[KeptConfig]
	Served *flow.Table[*Config]

	in       EnvoyInputs
	world    *configworld.World
	labels   *flow.Table[nodeLabels]
	reported *flow.Table[*Config]
	changed  []flow.Change[judged] // since the last Settle
}

// Config is what an object asks for on this node. Nobody changes it: tables share
// one.
type Config struct {
	envoyconfig.Parsed
	Generation int64
	Balanced   bool // it stands for a Service, and nobody reads what is said of it
	Generated  bool // the operator has made it
	Part       bool // of another one,
	Whole      model.Ref
}

// Key is the object's.
func (c *Config) Key() string { return c.Object.Key() }

// KeptConfig is a version of an object.
type KeptConfig struct {
	envoyconfig.Object
	Version string // of Kubernetes
}

// Key is the object's.
func (k KeptConfig) Key() string { return k.Ref.Key() }

func (k KeptConfig) equal(other KeptConfig) bool { return k.Version == other.Version }

// judged is the newest version of an object, and what it asks for.
type judged struct {
	*Config
	of KeptConfig
}

func (j judged) equal(other judged) bool {
	return j.of.Version == other.of.Version && same(j.Config, other.Config)
}

// NewEnvoyConfigs adds what reads the objects to g; self is the node's name.
func NewEnvoyConfigs(g *flow.Graph, in EnvoyInputs, self string) *EnvoyConfigs {
	e := &EnvoyConfigs{in: in, world: configworld.New(in.Services, in.Grants, in.AllowUnsafe)}
	e.labels = flow.Derive(g, "the node's labels", in.Nodes, nodeLabels.equal,
		func(_ *flow.Reader, n model.Object[*corev1.Node]) []nodeLabels {
			if n.Name.Name != self {
				return nil
			}
			return []nodeLabels{{n.Value.Labels}}
		})
	newest := flow.Union(g, "configs", judged.equal,
		flow.Derive(g, "namespaced configs", in.Configs, judged.equal,
			func(r *flow.Reader, c model.Object[*ciliumv2.CiliumEnvoyConfig]) []judged {
				return e.judge(r, KeptConfig{envoyconfig.Of(c.Value), c.Version})
			}),
		flow.Derive(g, "clusterwide configs", in.Clusterwide, judged.equal,
			func(r *flow.Reader, c model.Object[*ciliumv2.CiliumClusterwideEnvoyConfig]) []judged {
				return e.judge(r, KeptConfig{envoyconfig.OfClusterwide(c.Value), c.Version})
			}))
	newest.OnChange(func(changes []flow.Change[judged]) { e.changed = append(e.changed, changes...) })
	e.Kept = flow.NewTable(g, "kept configs", KeptConfig.equal)
	kept := flow.Derive(g, "kept objects' configs", e.Kept, same[*Config], func(r *flow.Reader, k KeptConfig) (out []*Config) {
		all := e.judgedBefore(r, newest, k)
		if all == nil {
			all = e.judge(r, k)
		}
		for _, j := range all {
			if len(j.Problems) == 0 {
				out = append(out, j.Config)
			}
		}
		return out
	})
	e.Served = flow.Union(g, "served configs", same[*Config], kept, e.balanced(g))
	e.reported = e.reportedConfigs(g)
	return e
}

// balanced are the Services that Envoy distributes requests of.
func (e *EnvoyConfigs) balanced(g *flow.Graph) *flow.Table[*Config] {
	return flow.Derive(g, "balanced Services", e.in.Services, same[*Config],
		func(r *flow.Reader, s model.Object[*corev1.Service]) []*Config {
			o, ok := e.in.Balance.Object(s.Value)
			if !ok {
				return nil
			}
			return []*Config{{Parsed: envoyconfig.Parse(o, e.world.Read(r)), Balanced: true}}
		})
}

// judge reads an object, if it counts on this node.
func (e *EnvoyConfigs) judge(r *flow.Reader, k KeptConfig) []judged {
	if node, ok := flow.Get(r, e.labels, selfKey); !ok || !k.Selects(node.labels) || e.in.GeneratedOnly && !k.Generated() {
		return nil
	}
	c := &Config{Parsed: envoyconfig.Parse(k.Object, e.world.Read(r)), Generation: k.Meta.Generation, Generated: k.Generated(), Part: k.Part()}
	if c.Part {
		c.Whole = model.Ref{Kind: k.Ref.Kind, Name: model.Name{Namespace: k.Ref.Namespace, Name: k.Meta.Labels[ciliumv2.LabelPartOf]}}
	}
	return []judged{{c, k}}
}

// Lasting adds the table of what is to be remembered when this agent ends: what
// users have written.
func (e *EnvoyConfigs) Lasting(g *flow.Graph) *flow.Table[KeptConfig] {
	return flow.Derive(g, "lasting configs", e.Kept, KeptConfig.equal, func(_ *flow.Reader, k KeptConfig) []KeptConfig {
		if k.Generated() {
			return nil // always valid
		}
		return []KeptConfig{k}
	})
}

// judgedBefore spares judging the newest version of an object twice.
func (e *EnvoyConfigs) judgedBefore(r *flow.Reader, newest *flow.Table[judged], k KeptConfig) []judged {
	if j, ok := flow.Get(r, newest, k.Key()); ok && j.of.Version == k.Version {
		return []judged{j}
	}
	return nil
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
		_, kept := e.Kept.Get(c.Key)
		remembered, ok := e.in.Remembered[c.Key]
		switch {
		case !c.HasNew:
			e.Kept.Delete(c.Key)
		case len(c.New.Problems) == 0:
			e.Kept.Set(c.New.of)
		case !kept && ok && remembered.Meta.UID == c.New.of.Meta.UID:
			e.Kept.Set(remembered)
		default:
			continue
		}
		again = true
	}
	e.changed = nil
	return again
}

// Inputs adds what makes resources of the objects to g.
func (e *EnvoyConfigs) Inputs(g *flow.Graph, node render.Node) ProxyInputs {
	fragments := e.fragments(g)
	byHost := flow.NewIndex(fragments, func(f render.Fragment) []string { return []string{f.HostKey()} })
	return ProxyInputs{
		Offers: flow.Derive(g, "offers", e.Served, Offer.Equal, func(_ *flow.Reader, c *Config) (out []Offer) {
			for _, r := range c.Resources {
				out = append(out, Offer{ProxyResource: r, Object: c.Object})
			}
			return out
		}),
		Fragments: flow.Derive(g, "users' fragments", e.Served, model.RouteFragment.Equal, func(_ *flow.Reader, c *Config) []model.RouteFragment {
			if c.Generated {
				return nil
			}
			return c.Fragments
		}),
		Hosts: flow.Derive(g, "hosts", flow.Keys(g, "host names", byHost), render.Host.Equal, func(r *flow.Reader, k flow.KeyRow) []render.Host {
			return []render.Host{render.HostOf(flow.Select(r, byHost, k.Key()))}
		}),
		Assignments: flow.Derive(g, "assignments", e.Served, flow.Equal[model.Assignment], func(_ *flow.Reader, c *Config) []model.Assignment {
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
	return flow.Derive(g, "fragments", e.Served, render.Fragment.Equal, func(_ *flow.Reader, c *Config) (out []render.Fragment) {
		if !c.Generated {
			return nil
		}
		for _, f := range c.Fragments {
			if of, err := render.FragmentsOf(f); err == nil { // the operator's own are well formed
				out = append(out, of...)
			}
		}
		return out
	})
}

// redirects settles who has a Service's ports.
func (e *EnvoyConfigs) redirects(g *flow.Graph) *flow.Table[model.ServiceRedirect] {
	claims := flow.Derive(g, "claims", e.Served, envoyconfig.Claim.Equal, func(_ *flow.Reader, c *Config) []envoyconfig.Claim {
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
