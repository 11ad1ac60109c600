package survey

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	waggle "github.com/waggle-mesh/waggle/api/waggle.io/v1alpha1"
	"github.com/waggle-mesh/waggle/internal/announcement"
	"github.com/waggle-mesh/waggle/internal/gateway"
	"github.com/waggle-mesh/waggle/internal/ipam/loadbalancer"
	"github.com/waggle-mesh/waggle/internal/kube"
)

// Controller is the name under which Waggle serves GatewayClasses.
const Controller = "io.cilium/gateway-controller"

// Problem is a condition of a user's object that is not as its author wishes.
type Problem struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	Section   string `json:"section,omitempty"` // "listener https", "parent default/web"
	Type      string `json:"type"`              // "Accepted"
	Reason    string `json:"reason"`
	Message   string `json:"message"`
}

// world is what users have written and what became of it.
type world struct {
	classes     []*gatewayv1.GatewayClass // Waggle's
	gateways    []*gatewayv1.Gateway      // of Waggle's classes
	routes      []*gatewayv1.HTTPRoute
	configs     []*ciliumv2.CiliumEnvoyConfig
	clusterwide []*ciliumv2.CiliumClusterwideEnvoyConfig
	services    []*corev1.Service
	nodes       []*corev1.Node
	envoys      []*waggle.EnvoyNode
}

func (r *reader) world() *world {
	w := &world{
		routes: read(r, kube.HTTPRoutes), configs: read(r, kube.EnvoyConfigs), clusterwide: read(r, kube.ClusterwideEnvoyConfigs),
		services: read(r, kube.Services), nodes: read(r, kube.Nodes), envoys: read(r, kube.EnvoyNodes),
	}
	ours := map[gatewayv1.ObjectName]bool{}
	for _, class := range read(r, kube.GatewayClasses) {
		if class.Spec.ControllerName == Controller {
			ours[gatewayv1.ObjectName(class.Name)] = true
			w.classes = append(w.classes, class)
		}
	}
	for _, g := range read(r, kube.Gateways) {
		if ours[g.Spec.GatewayClassName] {
			w.gateways = append(w.gateways, g)
		}
	}
	return w
}

// problems are what is not served as it is written, sorted.
func (w *world) problems() (out []Problem) {
	for _, class := range w.classes {
		out = append(out, Problem{Kind: "GatewayClass", Name: class.Name}.bad(class.Status.Conditions)...)
	}
	for _, g := range w.gateways {
		of := Problem{Kind: "Gateway", Namespace: g.Namespace, Name: g.Name}
		out = append(out, of.bad(g.Status.Conditions)...)
		for _, l := range g.Status.Listeners {
			of.Section = "listener " + string(l.Name)
			out = append(out, of.bad(l.Conditions)...)
		}
	}
	for _, route := range w.routes {
		for _, p := range route.Status.Parents {
			if p.ControllerName != Controller {
				continue
			}
			of := Problem{Kind: "HTTPRoute", Namespace: route.Namespace, Name: route.Name, Section: "parent " + parentName(route, p.ParentRef)}
			out = append(out, of.bad(p.Conditions)...)
		}
	}
	for _, c := range w.configs {
		out = append(out, Problem{Kind: "CiliumEnvoyConfig", Namespace: c.Namespace, Name: c.Name}.bad(c.Status.Conditions)...)
	}
	for _, c := range w.clusterwide {
		out = append(out, Problem{Kind: "CiliumClusterwideEnvoyConfig", Name: c.Name}.bad(c.Status.Conditions)...)
	}
	for _, s := range w.services {
		if s.Spec.Type == corev1.ServiceTypeLoadBalancer {
			out = append(out, Problem{Kind: "Service", Namespace: s.Namespace, Name: s.Name}.bad(only(s.Status.Conditions, loadbalancer.SatisfiedCondition))...)
		}
	}
	slices.SortFunc(out, Problem.compare)
	return out
}

func (p Problem) compare(other Problem) int {
	return cmp.Or(cmp.Compare(p.Kind, other.Kind), cmp.Compare(p.Namespace, other.Namespace), cmp.Compare(p.Name, other.Name),
		cmp.Compare(p.Section, other.Section), cmp.Compare(p.Type, other.Type))
}

// settingProblems are those of what administrators write for all Gateways and
// Services.
func (r *reader) settingProblems() (out []Problem) {
	for _, o := range read(r, kube.ClassConfigs) {
		out = append(out, Problem{Kind: gateway.ParametersKind, Namespace: o.Namespace, Name: o.Name}.bad(o.Status.Conditions)...)
	}
	for _, o := range read(r, kube.Pools) {
		out = append(out, Problem{Kind: kube.Pools.Name(), Name: o.Name}.bad(only(o.Status.Conditions, ciliumv2.PoolConflict))...)
	}
	for _, o := range read(r, kube.AnnouncementPolicies) {
		out = append(out, Problem{Kind: kube.AnnouncementPolicies.Name(), Name: o.Name}.bad(only(o.Status.Conditions, announcement.Conditions...))...)
	}
	return out
}

// only leaves conditions of some types: others' have other meanings.
func only(conditions []metav1.Condition, types ...string) []metav1.Condition {
	return slices.DeleteFunc(slices.Clone(conditions), func(c metav1.Condition) bool { return !slices.Contains(types, c.Type) })
}

// inverted are the conditions of which False is as it should be.
var inverted = append([]string{"Conflicted", "OverlappingTLSConfig", "PartiallyInvalid", ciliumv2.PoolConflict}, announcement.Conditions...)

// bad gives those of an object's conditions that its author would mend.
func (p Problem) bad(conditions []metav1.Condition) (out []Problem) {
	for _, c := range conditions {
		wanted := !slices.Contains(inverted, c.Type)
		if c.Status == metav1.ConditionUnknown || (c.Status == metav1.ConditionTrue) != wanted {
			p.Type, p.Reason, p.Message = c.Type, c.Reason, c.Message
			out = append(out, p)
		}
	}
	return out
}

func isTrue(conditions []metav1.Condition, name string) bool {
	return slices.ContainsFunc(conditions, func(c metav1.Condition) bool { return c.Type == name && c.Status == metav1.ConditionTrue })
}

// parentName is a route's parent: "namespace/name", and the section if it names
// one.
func parentName(route metav1.Object, p gatewayv1.ParentReference) string {
	namespace := route.GetNamespace()
	if p.Namespace != nil {
		namespace = string(*p.Namespace)
	}
	name := fmt.Sprintf("%s/%s", namespace, p.Name)
	if p.SectionName != nil {
		name += "/" + string(*p.SectionName)
	}
	return name
}
