package daemon

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waggle-mesh/waggle/api/cilium.io/v2alpha1"
	"github.com/waggle-mesh/waggle/internal/announcement"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/operator/announcing"
)

// judgeAnnouncements says in CiliumL2AnnouncementPolicies what is wrong with
// them.
func (p *process) judgeAnnouncements() {
	p.loops.group("CiliumL2AnnouncementPolicies", p.sources.policies)
	addStatus(p, "statuses of CiliumL2AnnouncementPolicies", announcing.Statuses(&p.tables, p.policies),
		kube.AnnouncementPolicies, p.sources.policies, fillAnnouncementStatus)
	p.loops.group("shared Leases", p.sources.policies, p.sources.services)
	add(p, "shared Leases", announcing.SharedLeases(&p.tables, p.in.Services, p.policies), leaseWarnings{p, p.sources.services})
}

// fillAnnouncementStatus leaves out what is not wrong any more.
func fillAnnouncementStatus(row announcing.Status, o *v2alpha1.CiliumL2AnnouncementPolicy) {
	others := slices.DeleteFunc(slices.Clone(o.Status.Conditions), func(c metav1.Condition) bool {
		return slices.Contains(announcement.Conditions, c.Type)
	})
	o.Status.Conditions = append(others, since(o.Status.Conditions, row.Conditions)...)
}

// leaseWarnings is the Output that tells of Services with one Lease, in the log
// and in an event of each.
type leaseWarnings struct {
	p      *process
	source *kube.Source[*corev1.Service]
}

// Update tells of a Lease.
func (o leaseWarnings) Update(ctx context.Context, row announcing.SharedLease) (struct{}, error) {
	var names []string
	for _, service := range row.Services {
		names = append(names, service.String())
	}
	all := strings.Join(names, ", ")
	o.p.log.Warn("Services share a Lease: a node that may not announce one of them keeps others from it; rename one", "lease", row.Lease, "services", all)
	for _, name := range row.Services {
		service, ok := o.source.Newest(name)
		if !ok {
			continue
		}
		err := kube.Warn(ctx, o.p.client, kube.Event{
			Object: model.Ref{Kind: "Service", Name: name}, APIVersion: "v1", UID: string(service.UID), Reason: "SharedLease", Reporter: "cilium-operator",
			Message: "Services " + all + " have one Lease, " + row.Lease + ": a node that may not announce one of them keeps others from it; rename one",
		})
		if err != nil {
			return struct{}{}, err
		}
	}
	return struct{}{}, nil
}

// Delete does nothing: what was told was so.
func (leaseWarnings) Delete(context.Context, string) error { return nil }

// Prune does nothing.
func (leaseWarnings) Prune(context.Context, []string) error { return nil }
