package gateway

import (
	"cmp"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/gateway/field"
	"github.com/waggle-mesh/waggle/internal/model"
)

// reasonRejected is a Programmed condition's where Envoy refused a resource.
// The Gateway API has none.
const reasonRejected = "Rejected"

// RouteStatus is the part of a route's status that is ours: an entry for each
// parent that is a Gateway of ours. Of the outcomes, which are those of
// resources made of the route, only rejections count.
func (s Stage) RouteStatus(r Route, outcomes []model.Outcome) gatewayv1.RouteStatus {
	out := gatewayv1.RouteStatus{Parents: []gatewayv1.RouteParentStatus{}}
	for _, p := range r.Parents {
		if p.Standing == Ours {
			out.Parents = append(out.Parents, gatewayv1.RouteParentStatus{
				ParentRef:      p.Ref,
				ControllerName: gatewayv1.GatewayController(s.Controller),
				Conditions:     r.parentConditions(p, outcomes),
			})
		}
	}
	return out
}

// parentConditions are a route's conditions at one parent.
func (r Route) parentConditions(p RouteParent, outcomes []model.Outcome) []metav1.Condition {
	out := []metav1.Condition{
		condition(gatewayv1.RouteConditionAccepted, gatewayv1.RouteReasonAccepted,
			"The route is attached", p.Problem, r.Generation),
		condition(gatewayv1.RouteConditionResolvedRefs, gatewayv1.RouteReasonResolvedRefs,
			"All references are resolved", r.Unresolved, r.Generation),
	}
	if p.Problem.OK() && !r.Partial.OK() {
		out = append(out, warning(gatewayv1.RouteConditionPartiallyInvalid, r.Partial, r.Generation))
	}
	if bad := rejections(outcomes); p.Problem.OK() && !bad.OK() {
		out = append(out, condition("Programmed", "", "", bad, r.Generation))
	}
	return out
}

// rejections says what Envoy rejected and the API server refused, if anything.
func rejections(outcomes []model.Outcome) Problem {
	var rejected []model.Outcome
	for _, o := range outcomes {
		if o.State == model.Rejected || o.State == model.Refused {
			rejected = append(rejected, o)
		}
	}
	slices.SortFunc(rejected, func(a, b model.Outcome) int {
		return cmp.Or(cmp.Compare(a.Key(), b.Key()), cmp.Compare(a.Message, b.Message))
	})
	problems := make([]Problem, len(rejected))
	for i, o := range rejected {
		if o.State == model.Refused {
			problems[i] = field.New(gatewayv1.GatewayReasonNoResources, "%s", o.Message)
			continue
		}
		problems[i] = field.New(reasonRejected, "Envoy rejected %s %q: %s", o.Type, o.Name, o.Message)
	}
	return field.Join(problems)
}

// RouteConditions are a route's conditions for people: those of its status,
// and a word on parents that no controller claims, or that there are none.
func RouteConditions(r Route, status gatewayv1.RouteStatus) []model.Condition {
	if len(r.Parents) == 0 {
		return []model.Condition{{
			Object: r.Object, Type: string(gatewayv1.RouteConditionAccepted), Status: string(metav1.ConditionUnknown),
			Reason:  string(gatewayv1.RouteReasonPending),
			Message: "spec.parentRefs: there is none, so nothing is routed; name a Gateway",
		}}
	}
	var out []model.Condition
	ours := 0
	for _, p := range r.Parents {
		section := "parent " + parentName(p.Ref)
		switch {
		case p.Standing == Unclaimed:
			out = flatten(out, r.Object, section, []metav1.Condition{
				condition(gatewayv1.RouteConditionAccepted, gatewayv1.RouteReasonAccepted, "", p.Problem, r.Generation),
			})
		case p.Standing == Ours && ours < len(status.Parents):
			out = flatten(out, r.Object, section, status.Parents[ours].Conditions)
			ours++
		}
	}
	return out
}

// parentName is how people write a parentRef: "default/gw/http:80".
func parentName(ref gatewayv1.ParentReference) string {
	out := string(ref.Name)
	if namespace := field.Value(ref.Namespace); namespace != "" {
		out = string(namespace) + "/" + out
	}
	if kind := field.Or(ref.Kind, "Gateway"); kind != "Gateway" {
		out = string(kind) + " " + out
	}
	if section := field.Value(ref.SectionName); section != "" {
		out += "/" + string(section)
	}
	if ref.Port != nil {
		out += fmt.Sprintf(":%d", *ref.Port)
	}
	return out
}
