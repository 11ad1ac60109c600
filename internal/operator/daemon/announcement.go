package daemon

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waggle-mesh/waggle/api/cilium.io/v2alpha1"
	"github.com/waggle-mesh/waggle/internal/announcement"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/operator"
)

// judgeAnnouncements says in CiliumL2AnnouncementPolicies what is wrong with
// them.
func (p *process) judgeAnnouncements() {
	p.loops.group("CiliumL2AnnouncementPolicies", p.sources.policies)
	addStatus(p, "statuses of CiliumL2AnnouncementPolicies", operator.AnnouncementStatuses(&p.tables, p.policies),
		kube.AnnouncementPolicies, p.sources.policies, fillAnnouncementStatus)
}

// fillAnnouncementStatus leaves out what is not wrong any more.
func fillAnnouncementStatus(row operator.AnnouncementStatus, o *v2alpha1.CiliumL2AnnouncementPolicy) {
	others := slices.DeleteFunc(slices.Clone(o.Status.Conditions), func(c metav1.Condition) bool {
		return slices.Contains(announcement.Conditions, c.Type)
	})
	o.Status.Conditions = append(others, since(o.Status.Conditions, row.Conditions)...)
}
