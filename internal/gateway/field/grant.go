package field

import (
	"cmp"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/model"
)

// Referrer is an object that refers to others; one of the Gateway API's where
// Group is empty.
type Referrer struct{ Group, Kind, Namespace string }

// Grants are the ReferenceGrants of namespaces.
type Grants interface {
	// Grants are those in one namespace, in any order.
	Grants(namespace string) []*gatewayv1.ReferenceGrant
}

// Permitted tells whether the referrer may refer to an object of the core
// group: always in its own namespace, elsewhere where a ReferenceGrant there
// says so. Every reference that users write goes through here.
func Permitted(w Grants, from Referrer, kind string, to model.Name) bool {
	if from.Namespace == to.Namespace {
		return true
	}
	for _, grant := range w.Grants(to.Namespace) {
		if grant != nil && grantsFrom(grant, from) && grantsTo(grant, kind, to.Name) {
			return true
		}
	}
	return false
}

func grantsFrom(grant *gatewayv1.ReferenceGrant, from Referrer) bool {
	for _, f := range grant.Spec.From {
		if string(f.Group) == cmp.Or(from.Group, gatewayv1.GroupName) && string(f.Kind) == from.Kind && string(f.Namespace) == from.Namespace {
			return true
		}
	}
	return false
}

func grantsTo(grant *gatewayv1.ReferenceGrant, kind, name string) bool {
	for _, t := range grant.Spec.To {
		if t.Group == "" && string(t.Kind) == kind && (Value(t.Name) == "" || string(*t.Name) == name) {
			return true
		}
	}
	return false
}
