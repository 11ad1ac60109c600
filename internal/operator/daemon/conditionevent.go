package daemon

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/operator"
)

// conditionEvents gives what tells in events which conditions of an object a
// write of its status has changed: `kubectl describe` shows what became of it,
// and when. What is Unknown is under way, and not told.
func conditionEvents[O kube.Object](p *process, kind kube.Kind[O], status func(O) *ciliumv2.CiliumEnvoyConfigStatus) func(ctx context.Context, before, after O) {
	return func(ctx context.Context, before, after O) {
		for _, c := range status(after).Conditions {
			had := meta.FindStatusCondition(status(before).Conditions, c.Type)
			if !isNews(had, c) {
				continue
			}
			event := kube.Event{
				Object:     model.Ref{Kind: kind.Name(), Name: model.Name{Namespace: after.GetNamespace(), Name: after.GetName()}},
				APIVersion: ciliumv2.GroupVersion.String(), UID: string(after.GetUID()), Version: after.GetResourceVersion(),
				Reason: c.Reason, Message: c.Type + ": " + c.Message, Reporter: "cilium-operator",
			}
			say := kube.Warn
			if c.Status == metav1.ConditionTrue {
				say = kube.Tell
			}
			if err := say(ctx, p.client, event); err != nil {
				p.log.Warn("write an event", "error", err) // the status says it, too
			}
		}
	}
}

// isNews tells of a condition whether there is something to tell: it is wrong
// in a new way, or has become right. That an object is valid is news where it
// was not; that another node rejects what one has rejected is not, or a thousand
// nodes would be a thousand events.
func isNews(had *metav1.Condition, c metav1.Condition) bool {
	switch c.Status {
	case metav1.ConditionFalse:
		if had == nil || had.Status != c.Status || had.Reason != c.Reason {
			return true
		}
		return had.Message != c.Message && (c.Reason != operator.ReasonRejected || had.ObservedGeneration != c.ObservedGeneration)
	case metav1.ConditionTrue:
		return had != nil && had.Status != c.Status || had == nil && c.Type == ciliumv2.EnvoyConfigProgrammed
	}
	return false
}
