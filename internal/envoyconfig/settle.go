package envoyconfig

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/waggle-mesh/waggle/internal/model"
)

// Settle decides between all claims on one Service: of several on one port
// the first by Compare has it. Each redirect names the ports that it got; the
// others' objects are told. A Service that is nil has no redirect, and one
// without an address has none either: its clients know its pods' addresses.
func Settle(service *corev1.Service, claims []Claim) (redirects []model.ServiceRedirect, conflicts map[model.Ref][]Problem) {
	if service == nil || service.Spec.Type == corev1.ServiceTypeExternalName || IsHeadless(service) {
		return nil, nil
	}
	claims = slices.Clone(claims)
	slices.SortFunc(claims, Claim.Compare)
	holders := map[uint16]Claim{}
	conflicts = map[model.Ref][]Problem{}
	for _, c := range claims {
		var got []uint16
		for _, port := range service.Spec.Ports {
			number := uint16(port.Port)
			if !isTCP(port) || len(c.Ports) > 0 && !slices.Contains(c.Ports, number) {
				continue
			}
			if holder, taken := holders[number]; taken {
				conflicts[c.Owner] = append(conflicts[c.Owner], Problem{
					Reason: ReasonConflict, Field: c.Field,
					Message: fmt.Sprintf("port %d of Service %s is led elsewhere by %s", number, c.Service, holder.precedes(c)),
				})
				continue
			}
			holders[number] = c
			got = append(got, number)
		}
		if len(got) > 0 {
			slices.Sort(got)
			redirects = append(redirects, model.ServiceRedirect{Service: c.Service, Ports: got, Listener: c.Listener, Alone: c.Alone, Owner: c.Owner})
		}
	}
	return redirects, conflicts
}

// precedes says who c is and why it is heard before other.
func (c Claim) precedes(other Claim) string {
	switch {
	case c.Owner == other.Owner:
		return c.Field + " of this object"
	case c.Alone:
		return c.Owner.String() + ", which is the operator's"
	case c.Created.Equal(other.Created):
		return c.Owner.String() + ", which is as old and comes first by name"
	}
	return c.Owner.String() + ", which is older"
}

// IsHeadless tells of a Service without an address: connections to it are not
// led anywhere, as its clients connect to pods.
func IsHeadless(service *corev1.Service) bool { return service.Spec.ClusterIP == corev1.ClusterIPNone }
