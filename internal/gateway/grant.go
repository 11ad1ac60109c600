package gateway

import (
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/model"
)

// referrer is an object that refers to others.
type referrer struct{ kind, namespace string }

// permitted tells whether the referrer may refer to an object of the core
// group: always in its own namespace, elsewhere where a ReferenceGrant there
// says so. Every reference of the stage's goes through here.
func permitted(w World, from referrer, kind string, to model.Name) bool {
	if from.namespace == to.Namespace {
		return true
	}
	for _, grant := range w.Grants(to.Namespace) {
		if grant != nil && grantsFrom(grant, from) && grantsTo(grant, kind, to.Name) {
			return true
		}
	}
	return false
}

func grantsFrom(grant *gatewayv1.ReferenceGrant, from referrer) bool {
	for _, f := range grant.Spec.From {
		if f.Group == gatewayv1.GroupName && string(f.Kind) == from.kind && string(f.Namespace) == from.namespace {
			return true
		}
	}
	return false
}

func grantsTo(grant *gatewayv1.ReferenceGrant, kind, name string) bool {
	for _, t := range grant.Spec.To {
		if t.Group == "" && string(t.Kind) == kind && (deref(t.Name) == "" || string(*t.Name) == name) {
			return true
		}
	}
	return false
}
