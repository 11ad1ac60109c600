package gateway

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/model"
)

// condition states that all is well, in the words given, or what the problem
// is. The time of transition is for the writer to fill in.
func condition[T, R ~string](kind T, good R, message string, bad Problem, generation int64) metav1.Condition {
	c := metav1.Condition{
		Type:               string(kind),
		Status:             metav1.ConditionTrue,
		Reason:             string(good),
		Message:            message,
		ObservedGeneration: generation,
	}
	if !bad.OK() {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, bad.Reason, bounded(bad.Message)
	}
	return c
}

// warning states something that is said only where it is so.
func warning[T ~string](kind T, p Problem, generation int64) metav1.Condition {
	return metav1.Condition{
		Type:               string(kind),
		Status:             metav1.ConditionTrue,
		Reason:             p.Reason,
		Message:            bounded(p.Message),
		ObservedGeneration: generation,
	}
}

// bounded cuts a message to what the API server takes.
func bounded(message string) string {
	const most = 32768
	if len(message) > most {
		return strings.ToValidUTF8(message[:most], "")
	}
	return message
}

// flatten adds an object's conditions to those for people.
func flatten(to []model.Condition, object model.Ref, section string, conditions []metav1.Condition) []model.Condition {
	for _, c := range conditions {
		to = append(to, model.Condition{
			Object:  object,
			Section: section,
			Type:    c.Type,
			Status:  string(c.Status),
			Reason:  c.Reason,
			Message: c.Message,
			Good:    good(c),
		})
	}
	return to
}

// good tells whether a condition is as the user would wish it. Overlapping
// hostnames with TLS are a note, as clients may be misdirected once.
func good(c metav1.Condition) bool {
	switch c.Type {
	case string(gatewayv1.ListenerConditionConflicted), string(gatewayv1.RouteConditionPartiallyInvalid):
		return c.Status == metav1.ConditionFalse
	}
	return c.Status == metav1.ConditionTrue
}
