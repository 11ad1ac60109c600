package operator

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waggle-mesh/waggle/api/cilium.io/v2alpha1"
	"github.com/waggle-mesh/waggle/internal/announcement"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
)

// AnnouncementStatus is what is said of a CiliumL2AnnouncementPolicy. Nodes act
// by the policy themselves.
type AnnouncementStatus struct {
	Object     model.Ref
	Conditions []metav1.Condition // without times
}

// Key is the object's.
func (s AnnouncementStatus) Key() string { return s.Object.Key() }

// AnnouncementStatuses adds the statuses of policies to g.
func AnnouncementStatuses(g *flow.Graph, policies *flow.Table[model.Object[*v2alpha1.CiliumL2AnnouncementPolicy]]) *flow.Table[AnnouncementStatus] {
	return flow.Derive(g, "announcement statuses", policies, flow.DeepEqual[AnnouncementStatus],
		func(_ *flow.Reader, o model.Object[*v2alpha1.CiliumL2AnnouncementPolicy]) []AnnouncementStatus {
			s := AnnouncementStatus{Object: model.Ref{Kind: "CiliumL2AnnouncementPolicy", Name: o.Name}}
			for _, c := range announcement.PolicyOf(o.Value).Conditions {
				c.ObservedGeneration = o.Value.Generation
				s.Conditions = append(s.Conditions, c)
			}
			return []AnnouncementStatus{s}
		})
}
