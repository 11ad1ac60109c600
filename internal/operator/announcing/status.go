// Package announcing says what is wrong with L2 announcements in a cluster:
// with policies, and with Services that hinder each other. Nodes act by the
// policies themselves.
package announcing

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waggle-mesh/waggle/api/cilium.io/v2alpha1"
	"github.com/waggle-mesh/waggle/internal/announcement"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Status is what is said of a CiliumL2AnnouncementPolicy.
type Status struct {
	Object     model.Ref
	Conditions []metav1.Condition // without times
}

// Key is the object's.
func (s Status) Key() string { return s.Object.Key() }

// Statuses adds the statuses of policies to g.
func Statuses(g *flow.Graph, policies *flow.Table[model.Object[*v2alpha1.CiliumL2AnnouncementPolicy]]) *flow.Table[Status] {
	return flow.Derive(g, "announcement statuses", policies, flow.DeepEqual[Status],
		func(_ *flow.Reader, o model.Object[*v2alpha1.CiliumL2AnnouncementPolicy]) []Status {
			s := Status{Object: model.Ref{Kind: "CiliumL2AnnouncementPolicy", Name: o.Name}}
			for _, c := range announcement.PolicyOf(o.Value).Conditions {
				c.ObservedGeneration = o.Value.Generation
				s.Conditions = append(s.Conditions, c)
			}
			return []Status{s}
		})
}
