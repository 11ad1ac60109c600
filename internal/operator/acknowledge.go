package operator

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"

	waggle "github.com/waggle-mesh/waggle/api/waggle.io/v1alpha1"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
)

// serving is the Envoy of a node that is Ready: its word counts.
type serving struct {
	node string
	said *waggle.EnvoyNode
	// version is said's.
	version string
}

func (s serving) Key() string { return s.node }

func (s serving) equal(other serving) bool { return s.node == other.node && s.version == other.version }

// answered is a CiliumEnvoyConfig that the Envoy of one node has answered.
type answered struct {
	node, config string
	generation   int64
}

func (a answered) Key() string { return model.Join(a.node, a.config) }

// rejected is a resource that the Envoy of one node has rejected.
type rejected struct {
	node string
	waggle.RejectedResource
}

func (x rejected) Key() string { return model.Join(x.node, x.config(), x.resource().Key()) }

func (x rejected) config() string {
	return model.Name{Namespace: x.Namespace, Name: x.Name}.String()
}

func (x rejected) resource() model.ResourceKey {
	return model.ResourceKey{Type: model.ResourceType(x.Type), Name: x.Resource}
}

// voices is what the Envoys of all nodes that count have said.
type voices struct {
	nodes    *flow.Index[serving]
	places   *flow.Index[place]       // all nodes that are Ready
	answers  *flow.Index[answered]    // by CiliumEnvoyConfig
	refusals *flow.Index[rejected]    // by resource
	objected *flow.Index[rejected]    // by CiliumEnvoyConfig
	silent   *flow.Table[flow.KeyRow] // nodes that have more rejections than they can tell of
}

// listen takes apart what nodes say, so that a word of one node about one
// object is heard by those alone whom it concerns.
func (c *Cluster) listen(g *flow.Graph) voices {
	ready := flow.Derive(g, "serving nodes", c.in.EnvoyNodes, serving.equal,
		func(r *flow.Reader, said model.Object[*waggle.EnvoyNode]) []serving {
			node, ok := flow.Get(r, c.in.Nodes, said.Name.Name)
			if !ok || !isReady(node.Value) {
				return nil
			}
			return []serving{{said.Name.Name, said.Value, said.Version}}
		})
	answers := flow.Derive(g, "answers", ready, flow.Equal[answered],
		func(_ *flow.Reader, s serving) (out []answered) {
			for _, config := range s.said.Configs {
				out = append(out, answered{s.node, model.Name{Namespace: config.Namespace, Name: config.Name}.String(), config.Generation})
			}
			return out
		})
	refusals := flow.Derive(g, "rejections", ready, flow.Equal[rejected],
		func(_ *flow.Reader, s serving) (out []rejected) {
			for _, x := range s.said.Rejected {
				out = append(out, rejected{s.node, x})
			}
			return out
		})
	silent := flow.Derive(g, "nodes with more rejections", ready, flow.Equal[flow.KeyRow],
		func(_ *flow.Reader, s serving) []flow.KeyRow {
			if s.said.MoreRejected == 0 {
				return nil
			}
			return []flow.KeyRow{flow.KeyRow(s.node)}
		})
	return voices{
		silent:   silent,
		nodes:    flow.NewIndex(ready, func(serving) []string { return []string{anyKey} }),
		places:   c.places(g),
		answers:  flow.NewIndex(answers, func(a answered) []string { return []string{a.config} }),
		refusals: flow.NewIndex(refusals, func(x rejected) []string { return []string{x.resource().Key()} }),
		objected: flow.NewIndex(refusals, func(x rejected) []string { return []string{x.config()} }),
	}
}

func isReady(node *corev1.Node) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// acknowledge says of each resource what became of it: Accepted where the
// Envoy of every node that counts uses it, Rejected where one does not.
func (c *Cluster) acknowledge(g *flow.Graph) {
	c.voices = c.listen(g)
	v := c.voices
	listeners := flow.Derive(g, "listener outcomes", c.mains, flow.DeepEqual[model.Outcome],
		func(r *flow.Reader, main GatewayConfig) (out []model.Outcome) {
			state := c.heard(r, v, main)
			for _, s := range main.Spec.Services {
				key := model.ResourceKey{Type: model.EnvoyListener, Name: s.Listener}
				out = append(out, v.outcome(r, key, state, []model.Ref{{Kind: "Gateway", Name: main.Owner.Gateway}}))
			}
			return out
		})
	secrets := flow.Derive(g, "secret outcomes", c.Secrets, flow.DeepEqual[model.Outcome],
		func(r *flow.Reader, s SecretCopy) []model.Outcome {
			out := v.outcome(r, model.ResourceKey{Type: model.Secret, Name: s.Name.String()}, model.Accepted, []model.Ref{{Kind: "Secret", Name: s.Of.Secret}})
			out.Name = s.Of.Secret.String() // as Gateways know it
			return []model.Outcome{out}
		})
	c.Outcomes = flow.Union(g, "outcomes", flow.DeepEqual[model.Outcome], listeners, secrets, c.partOutcomes(g, v))
}

// heard tells whether every node that counts has answered the newest version
// of a main CiliumEnvoyConfig, and that is what we want it to be.
func (c *Cluster) heard(r *flow.Reader, v voices, main GatewayConfig) model.OutcomeState {
	object, ok := flow.Get(r, c.in.Configs, main.Key())
	if !ok || !main.Owner.Owns(object.Value) || !reflect.DeepEqual(object.Value.Spec, main.Spec) {
		return model.Pending // it is being written
	}
	nodes := flow.Count(r, v.nodes, anyKey)
	for _, a := range flow.Select(r, v.answers, main.Key()) {
		if a.generation >= object.Value.Generation {
			nodes--
		}
	}
	if nodes != 0 || flow.Count(r, v.nodes, anyKey) == 0 {
		return model.Pending
	}
	return model.Accepted
}

// outcome is what nodes have said of a resource, state where none rejects it.
func (v voices) outcome(r *flow.Reader, key model.ResourceKey, state model.OutcomeState, owners []model.Ref) model.Outcome {
	out := model.Outcome{ResourceKey: key, State: state, Owners: owners}
	if all := flow.Select(r, v.refusals, key.Key()); len(all) > 0 {
		out.State, out.Message = model.Rejected, refusal(all)
	}
	return out
}

// refusal says what the first node, by name, has against a resource, and which
// others have something against it.
func refusal(all []rejected) string {
	slices.SortFunc(all, func(a, b rejected) int { return cmp.Or(cmp.Compare(a.node, b.node), cmp.Compare(a.Message, b.Message)) })
	var nodes []string
	for _, x := range all {
		nodes = append(nodes, x.node)
	}
	nodes = slices.Compact(nodes)
	where, count := few(nodes), len(nodes)
	if count == 1 {
		return fmt.Sprintf("%s (node %s)", all[0].Message, where)
	}
	return fmt.Sprintf("%s (nodes %s)", all[0].Message, where)
}

// partOutcomes are the rejections of what stands in parts: routes and
// clusters. The routes that the part was made of are told.
func (c *Cluster) partOutcomes(g *flow.Graph, v voices) *flow.Table[model.Outcome] {
	byConfig := flow.NewIndex(c.hostParts, func(p hostPart) []string { return []string{p.config.String()} })
	return flow.Derive(g, "part outcomes", flow.Keys(g, "rejected resources", v.refusals), flow.DeepEqual[model.Outcome],
		func(r *flow.Reader, key flow.KeyRow) []model.Outcome {
			all := flow.Select(r, v.refusals, key.Key())
			resource := all[0].resource()
			if resource.Type == model.EnvoyListener || resource.Type == model.Secret {
				return nil
			}
			var owners []model.Ref
			for _, x := range all {
				if p, ok := flow.First(r, byConfig, x.config()); ok {
					owners = append(owners, p.routes()...)
				}
			}
			if len(owners) == 0 {
				return nil // a user's own, or gone
			}
			slices.SortFunc(owners, model.Ref.Compare)
			return []model.Outcome{{ResourceKey: resource, State: model.Rejected, Message: refusal(all), Owners: slices.Compact(owners)}}
		})
}
