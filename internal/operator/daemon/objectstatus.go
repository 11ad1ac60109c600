package daemon

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/api/cilium.io/v2alpha1"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/operator"
)

// statusWriter writes the statuses of objects that users make.
func statusWriter[R flow.Row, O kube.Object](p *process, source *kube.Source[O], fill func(R, O), wrote func(ctx context.Context, before, after O)) *kube.Writer[R, O] {
	return kube.NewWriter(p.client, source, kube.WriterOptions[R, O]{Name: nameFromRef, Fill: fill, StatusOnly: true, Wrote: wrote})
}

// nameFromRef is the name in the key of a model.Ref.
func nameFromRef(key string) model.Name {
	_, rest, _ := strings.Cut(key, "|")
	namespace, name, _ := strings.Cut(rest, "|")
	return model.Name{Namespace: namespace, Name: name}
}

func fillClassStatus(row operator.ClassStatus, o *gatewayv1.GatewayClass) {
	o.Status.Conditions = merged(o.Status.Conditions, row.Status.Conditions)
	o.Status.SupportedFeatures = row.Status.SupportedFeatures
}

func fillParametersStatus(row operator.ParametersStatus, o *v2alpha1.CiliumGatewayClassConfig) {
	o.Status.Conditions = merged(o.Status.Conditions, row.Conditions)
}

func fillGatewayStatus(row operator.GatewayStatus, o *gatewayv1.Gateway) {
	if !row.Ours {
		return // whose it is will show when its class is there
	}
	o.Status.Conditions = merged(o.Status.Conditions, row.Status.Conditions)
	o.Status.Addresses = row.Status.Addresses
	var listeners []gatewayv1.ListenerStatus
	for _, l := range row.Status.Listeners {
		at := slices.IndexFunc(o.Status.Listeners, func(had gatewayv1.ListenerStatus) bool { return had.Name == l.Name })
		var had []metav1.Condition
		if at >= 0 {
			had = o.Status.Listeners[at].Conditions
		}
		l.Conditions = since(had, l.Conditions)
		listeners = append(listeners, l)
	}
	o.Status.Listeners = listeners
}

// fillEnvoyConfigStatus writes the status of either kind.
func fillEnvoyConfigStatus(row operator.EnvoyConfigStatus, status *ciliumv2.CiliumEnvoyConfigStatus) {
	var want []metav1.Condition
	for _, c := range row.Conditions {
		want = append(want, metav1.Condition{
			Type: c.Type, Status: metav1.ConditionStatus(c.Status), Reason: c.Reason, Message: c.Message, ObservedGeneration: row.Generation,
		})
	}
	status.Conditions = since(status.Conditions, want)
	status.Rejections = row.Rejections
}

// fillRouteStatus leaves the words of other controllers as they are, each in
// its place.
func fillRouteStatus(row operator.RouteStatus, o *gatewayv1.HTTPRoute) {
	want := slices.Clone(row.Status.Parents)
	parents := []gatewayv1.RouteParentStatus{} // which must be there, if empty
	for _, had := range o.Status.Parents {
		if had.ControllerName != Controller {
			parents = append(parents, had)
			continue
		}
		at := slices.IndexFunc(want, func(p gatewayv1.RouteParentStatus) bool { return reflect.DeepEqual(p.ParentRef, had.ParentRef) })
		if at < 0 {
			continue // it is no parent any more
		}
		want[at].Conditions = since(had.Conditions, want[at].Conditions)
		parents = append(parents, want[at])
		want = slices.Delete(want, at, at+1)
	}
	for _, p := range want {
		p.Conditions = since(nil, p.Conditions)
		parents = append(parents, p)
	}
	if len(parents) > 0 || len(o.Status.Parents) > 0 {
		o.Status.Parents = parents
	}
}

// since gives conditions the times since when they are so.
func since(had, want []metav1.Condition) []metav1.Condition {
	out := slices.Clone(want)
	for i := range out {
		out[i].LastTransitionTime = metav1.NewTime(time.Now().Truncate(time.Second))
		for _, before := range had {
			if before.Type == out[i].Type && before.Status == out[i].Status {
				out[i].LastTransitionTime = before.LastTransitionTime
			}
		}
	}
	return out
}

// merged are the conditions that we state, and those of other types, each in
// its place.
func merged(had, want []metav1.Condition) []metav1.Condition {
	var out []metav1.Condition
	want = since(had, want)
	for _, before := range had {
		at := slices.IndexFunc(want, func(c metav1.Condition) bool { return c.Type == before.Type })
		if at < 0 {
			out = append(out, before)
			continue
		}
		out = append(out, want[at])
		want = slices.Delete(want, at, at+1)
	}
	return append(out, want...)
}

// statusDelay is how much later than it could a route's status is written: what
// the route is served by goes through the same API server meanwhile.
const statusDelay = 50 * time.Millisecond

// spacing lets Gateways' counts of routes be written together: while many
// routes come and go, each changes the Gateway's status.
func spacing(before, after operator.GatewayStatus) time.Duration {
	if reflect.DeepEqual(uncounted(before), uncounted(after)) {
		return countsEvery
	}
	return 0
}

// countsEvery is how much time is between two writes of counts alone.
const countsEvery = 2 * time.Second

// uncounted is a status without its counts.
func uncounted(s operator.GatewayStatus) gatewayv1.GatewayStatus {
	out := s.Status
	out.Listeners = slices.Clone(out.Listeners)
	for i := range out.Listeners {
		out.Listeners[i].AttachedRoutes = 0
	}
	return out
}
