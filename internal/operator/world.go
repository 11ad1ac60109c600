package operator

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/api/cilium.io/v2alpha1"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/gateway"
	"github.com/waggle-mesh/waggle/internal/model"
)

// mention is one thing that a route names: a listener that counts it, or a
// backend.
type mention[T named] struct {
	of    T
	route model.Ref
}

type named interface {
	flow.Row
	comparable
}

func (m mention[T]) Key() string { return model.Join(m.route.Key(), m.of.Key()) }

// mentions adds the table of all that routes mention of one sort, and gives
// an index by what is mentioned.
func mentions[T named](g *flow.Graph, name string, routes *flow.Table[gateway.Route], of func(gateway.Route) []T) *flow.Index[mention[T]] {
	all := flow.Derive(g, name, routes, flow.Equal[mention[T]],
		func(_ *flow.Reader, route gateway.Route) []mention[T] {
			var out []mention[T]
			for _, what := range of(route) {
				out = append(out, mention[T]{what, route.Object})
			}
			return out
		})
	return flow.NewIndex(all, func(m mention[T]) []string { return []string{m.of.Key()} })
}

// world is what the stage reads, with every read on record.
type world struct {
	r *flow.Reader
	o *Graph
}

var _ gateway.World = world{}

func (w world) Parameters(name model.Name) (*v2alpha1.CiliumGatewayClassConfig, bool) {
	config, ok := flow.Get(w.r, w.o.in.Parameters, name.String())
	return config.Value, ok
}

// Class is also the implied one, while there is none.
func (w world) Class(name string) (gateway.Class, bool) {
	if c, ok := flow.Get(w.r, w.o.Classes, name); ok {
		return c, true
	}
	if name == "" || name != w.o.settings.ImpliedClass || flow.Count(w.r, w.o.anyClass, anyKey) > 0 {
		return gateway.Class{}, false
	}
	return gateway.Class{Name: name, Ours: true}, true
}

func (w world) Parent(name model.Name) (gateway.Parent, bool) {
	return flow.Get(w.r, w.o.parents, name.String())
}

func (w world) NamespaceLabels(namespace string) map[string]string {
	ns, ok := flow.Get(w.r, w.o.in.Namespaces, namespace)
	if !ok {
		return nil
	}
	return ns.Value.Labels
}

func (w world) Service(name model.Name) (*corev1.Service, bool) {
	s, ok := flow.Get(w.r, w.o.in.Services, name.String())
	return s.Value, ok
}

func (w world) Certificate(secret model.Name) (gateway.Certificate, bool) {
	return flow.Get(w.r, w.o.certificates, secret.String())
}

func (w world) Grants(namespace string) []*gatewayv1.ReferenceGrant {
	var out []*gatewayv1.ReferenceGrant
	for _, g := range flow.Select(w.r, w.o.grants, namespace) {
		out = append(out, g.Value)
	}
	return out
}

func (w world) Expired(notAfter time.Time) bool {
	_, ok := flow.Get(w.r, w.o.expired, instant(notAfter.UnixNano()))
	return ok
}
