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

// answered is a CiliumEnvoyConfig that the Envoy of one node has answered, by its
// name with the newest generation of which that is so, or by the digest of both
// (see byDigest).
type answered struct {
	node, config string
	generation   int64 // 0 of a digest
}

func (a answered) Key() string { return model.Join(a.node, a.config) }

// byDigest is a digest among names, none of which is like it: a cluster-wide
// object may be named like a bare one.
func byDigest(digest string) string { return "#" + digest }

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
	answers  *flow.Index[answered]    // by CiliumEnvoyConfig, or its digest
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
			for digest := range s.said.EachDigest() {
				out = append(out, answered{node: s.node, config: byDigest(digest)})
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
	listeners := c.listenerOutcomes(g, v)
	secrets := flow.Derive(g, "secret outcomes", c.Secrets, flow.DeepEqual[model.Outcome],
		func(r *flow.Reader, s SecretCopy) []model.Outcome {
			if s.Held {
				return nil
			}
			out := v.outcome(r, model.ResourceKey{Type: model.Secret, Name: s.Name.String()}, model.Accepted, []model.Ref{{Kind: "Secret", Name: s.Of.Secret}})
			out.Name = s.Of.Secret.String() // as Gateways know it
			return []model.Outcome{out}
		})
	parts := flow.NewIndex(c.hostParts, func(p hostPart) []string { return []string{p.config.String()} })
	c.Outcomes = flow.Union(g, "outcomes", flow.DeepEqual[model.Outcome], listeners, secrets, c.partOutcomes(g, v, parts), c.partRefusals(g, parts))
}

// unheard is a CiliumEnvoyConfig with listeners that some node has not answered.
type unheard struct{ config model.Name }

func (u unheard) Key() string { return u.config.String() }

// listenerOutcomes are those of listeners, whose filter chains may stand in
// several objects.
func (c *Cluster) listenerOutcomes(g *flow.Graph, v voices) *flow.Table[model.Outcome] {
	waiting := flow.Derive(g, "unheard configs", c.listenerConfigs, flow.Equal[unheard],
		func(r *flow.Reader, config GatewayConfig) []unheard {
			if c.heard(r, &v, config) {
				return nil
			}
			return []unheard{{config.Name}}
		})
	byListener := flow.NewIndex(c.listenerConfigs, func(config GatewayConfig) []string { return config.Listeners })
	return flow.Derive(g, "listener outcomes", flow.Keys(g, "stored listeners", byListener), flow.DeepEqual[model.Outcome],
		func(r *flow.Reader, listener flow.KeyRow) []model.Outcome {
			state, configs := model.Accepted, flow.Select(r, byListener, listener.Key())
			for _, config := range configs {
				if _, waits := flow.Get(r, waiting, config.Key()); waits {
					state = model.Pending
				}
			}
			key := model.ResourceKey{Type: model.EnvoyListener, Name: listener.Key()}
			return []model.Outcome{v.outcome(r, key, state, []model.Ref{configs[0].Owner.Ref()})}
		})
}

// heard tells whether every node that counts has answered the newest version
// of a CiliumEnvoyConfig with listeners, and that is what we want it to be.
func (c *Cluster) heard(r *flow.Reader, v *voices, config GatewayConfig) bool {
	object, ok := flow.Get(r, c.in.Configs, config.Key())
	if !ok || !config.Owner.Owns(object.Value) || !reflect.DeepEqual(object.Value.Spec, config.Spec) {
		return false // it is being written
	}
	answers := v.answeredBy(r, config.Name, object.Value.Generation)
	if config.Spec.NodeSelector == nil {
		all := flow.Count(r, v.nodes, anyKey)
		return len(answers) == all && all > 0
	}
	waiting, _ := v.selected(r, config.Spec.NodeSelector)
	some := len(waiting) > 0
	waiting = slices.DeleteFunc(waiting, func(node string) bool { return slices.Contains(answers, node) })
	return some && len(waiting) == 0
}

// answeredBy are the nodes whose Envoys have answered a generation of an object, or
// a newer one, in any order.
func (v *voices) answeredBy(r *flow.Reader, config model.Name, generation int64) (nodes []string) {
	for _, a := range flow.Select(r, v.answers, config.String()) {
		if a.generation >= generation {
			nodes = append(nodes, a.node)
		}
	}
	digest := waggle.AnsweredConfig{Namespace: config.Namespace, Name: config.Name, Generation: generation}.Digest()
	for _, a := range flow.Select(r, v.answers, byDigest(digest)) {
		nodes = append(nodes, a.node)
	}
	return nodes
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
func (c *Cluster) partOutcomes(g *flow.Graph, v voices, parts *flow.Index[hostPart]) *flow.Table[model.Outcome] {
	return flow.Derive(g, "part outcomes", flow.Keys(g, "rejected resources", v.refusals), flow.DeepEqual[model.Outcome],
		func(r *flow.Reader, key flow.KeyRow) []model.Outcome {
			all := flow.Select(r, v.refusals, key.Key())
			resource := all[0].resource()
			if resource.Type == model.EnvoyListener || resource.Type == model.Secret {
				return nil
			}
			var owners []model.Ref
			for _, x := range all {
				if p, ok := flow.First(r, parts, x.config()); ok {
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
