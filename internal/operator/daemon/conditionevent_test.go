package daemon

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestNews: what is told of a condition.
func TestNews(t *testing.T) {
	condition := func(kind string, status metav1.ConditionStatus, reason, message string, generation int64) *metav1.Condition {
		return &metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: generation}
	}
	rejected := condition("Programmed", "False", "Rejected", "no (node n1)", 1)
	for _, c := range []struct {
		what     string
		had, now *metav1.Condition
		news     bool
	}{
		{"the first rejection", condition("Programmed", "Unknown", "Pending", "", 1), rejected, true},
		{"another node's", rejected, condition("Programmed", "False", "Rejected", "no (nodes n1, n2)", 1), false},
		{"that of another version", rejected, condition("Programmed", "False", "Rejected", "neither (node n1)", 2), true},
		{"the same of another version", rejected, condition("Programmed", "False", "Rejected", "no (node n1)", 2), false},
		{"another reason", rejected, condition("Programmed", "False", "Conflict", "web", 1), true},
		{"another Service is missing", condition("ResolvedRefs", "False", "ServiceNotFound", "a", 1), condition("ResolvedRefs", "False", "ServiceNotFound", "b", 1), true},
		{"well again", rejected, condition("Programmed", "True", "Programmed", "", 2), true},
		{"well from the start", nil, condition("Programmed", "True", "Programmed", "", 1), true},
		{"valid from the start", nil, condition("Accepted", "True", "Accepted", "", 1), false},
		{"under way", nil, condition("Programmed", "Unknown", "Pending", "", 1), false},
	} {
		if got := isNews(c.had, *c.now); got != c.news {
			t.Errorf("%s: news %t", c.what, got)
		}
	}
}
