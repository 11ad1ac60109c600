package operator

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/configworld"
	"github.com/waggle-mesh/waggle/internal/envoyconfig"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
)

// EnvoyConfigInputs are the tables by which CiliumEnvoyConfigs are judged.
type EnvoyConfigInputs struct {
	Configs     *flow.Table[model.Object[*ciliumv2.CiliumEnvoyConfig]]
	Clusterwide *flow.Table[model.Object[*ciliumv2.CiliumClusterwideEnvoyConfig]]
	Services    *flow.Table[model.Object[*corev1.Service]]
	Grants      *flow.Table[model.Object[*gatewayv1.ReferenceGrant]]
	// AllowUnsafe is envoyConfig.allowUnsafe.
	AllowUnsafe bool
}

// NewEnvoyConfigInputs makes the tables beside those of others.
func NewEnvoyConfigInputs(g *flow.Graph, in Inputs) EnvoyConfigInputs {
	return EnvoyConfigInputs{
		Configs:     Objects[*ciliumv2.CiliumEnvoyConfig](g, envoyconfig.Namespaced),
		Clusterwide: Objects[*ciliumv2.CiliumClusterwideEnvoyConfig](g, envoyconfig.Clusterwide),
		Services:    in.Services, Grants: in.Grants,
	}
}

// EnvoyConfigs judges CiliumEnvoyConfigs as agents do:
//
//	objects ─▶ judged ─┬────────────────────────▶ Statuses
//	                   └─▶ claims ─▶ conflicts ──▶
type EnvoyConfigs struct {
	// Statuses and ClusterwideStatuses are what is said of the objects of
	// either kind, but for generated ones.
	Statuses, ClusterwideStatuses *flow.Table[EnvoyConfigStatus]

	in EnvoyConfigInputs
}

// EnvoyConfigStatus is what is said of one object: Accepted, ResolvedRefs and
// Programmed. The last is left out where there are no nodes to say it, unless
// another object has the ports of its Services.
type EnvoyConfigStatus struct {
	Object     model.Ref
	Generation int64
	Conditions []model.Condition
	Rejections []ciliumv2.EnvoyRejection
}

// Key is the object's.
func (s EnvoyConfigStatus) Key() string { return s.Object.Key() }

// judged is an object that was read.
type judged struct {
	envoyconfig.Parsed
	generation int64
	selector   *metav1.LabelSelector
}

func (j judged) Key() string { return j.Object.Key() }

// conflict is what an object could not have of a Service.
type conflict struct {
	object   model.Ref
	service  string
	problems []envoyconfig.Problem
}

func (c conflict) Key() string { return model.Join(c.object.Key(), c.service) }

// NewEnvoyConfigs adds the pipeline to g, where there are no nodes.
func NewEnvoyConfigs(g *flow.Graph, in EnvoyConfigInputs) *EnvoyConfigs {
	return newEnvoyConfigs(g, in, nil)
}

func newEnvoyConfigs(g *flow.Graph, in EnvoyConfigInputs, v *voices) *EnvoyConfigs {
	e := &EnvoyConfigs{in: in}
	world := configworld.New(in.Services, in.Grants, in.AllowUnsafe)
	judge := func(r *flow.Reader, o envoyconfig.Object) []judged {
		if o.Generated() {
			return nil
		}
		return []judged{{envoyconfig.Parse(o, world.Read(r)), o.Meta.Generation, o.Spec.NodeSelector}}
	}
	namespaced := flow.Derive(g, "judged objects", in.Configs, flow.DeepEqual[judged],
		func(r *flow.Reader, c model.Object[*ciliumv2.CiliumEnvoyConfig]) []judged {
			return judge(r, envoyconfig.Of(c.Value))
		})
	clusterwide := flow.Derive(g, "judged clusterwide objects", in.Clusterwide, flow.DeepEqual[judged],
		func(r *flow.Reader, c model.Object[*ciliumv2.CiliumClusterwideEnvoyConfig]) []judged {
			return judge(r, envoyconfig.OfClusterwide(c.Value))
		})
	conflicts := e.conflicts(g, flow.Union(g, "judged", flow.DeepEqual[judged], namespaced, clusterwide))
	status := func(r *flow.Reader, j judged) []EnvoyConfigStatus {
		status := EnvoyConfigStatus{Object: j.Object, Generation: j.generation, Conditions: j.Conditions()}
		var problems []envoyconfig.Problem
		for _, c := range flow.Select(r, conflicts, j.Object.Key()) {
			problems = append(problems, c.problems...)
		}
		switch {
		case len(problems) > 0:
			status.Conditions = append(status.Conditions, envoyconfig.Conflicts(j.Object, problems))
		case v != nil:
			condition, rejections := v.programmed(r, j)
			status.Conditions, status.Rejections = append(status.Conditions, condition), rejections
		}
		return []EnvoyConfigStatus{status}
	}
	e.Statuses = flow.Derive(g, "envoy config statuses", namespaced, flow.DeepEqual[EnvoyConfigStatus], status)
	e.ClusterwideStatuses = flow.Derive(g, "clusterwide envoy config statuses", clusterwide, flow.DeepEqual[EnvoyConfigStatus], status)
	return e
}

// conflicts finds who could not have what, by object.
func (e *EnvoyConfigs) conflicts(g *flow.Graph, all *flow.Table[judged]) *flow.Index[conflict] {
	claims := flow.Derive(g, "judged claims", all, envoyconfig.Claim.Equal, func(_ *flow.Reader, j judged) []envoyconfig.Claim {
		return j.Claims
	})
	byService := flow.NewIndex(claims, func(c envoyconfig.Claim) []string { return []string{c.Service.String()} })
	table := flow.Derive(g, "conflicts", flow.Keys(g, "contested Services", byService), flow.DeepEqual[conflict],
		func(r *flow.Reader, k flow.KeyRow) (out []conflict) {
			s, _ := flow.Get(r, e.in.Services, k.Key())
			_, problems := envoyconfig.Settle(s.Value, flow.Select(r, byService, k.Key()))
			for object, p := range problems {
				out = append(out, conflict{object, k.Key(), p})
			}
			return out
		})
	return flow.NewIndex(table, func(c conflict) []string { return []string{c.object.Key()} })
}
