package announcing

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/waggle-mesh/waggle/api/cilium.io/v2alpha1"
	"github.com/waggle-mesh/waggle/internal/announcement"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
)

// SharedLease is a Lease that decides who announces several Services, as "a-b/c"
// and "a/b-c" have one name: while a node holds it that may not announce one of
// them, nobody announces that.
type SharedLease struct {
	Lease    string
	Services []model.Name // sorted
}

// Key is the Lease's name.
func (s SharedLease) Key() string { return s.Lease }

// everyKey is what all policies are filed under.
const everyKey = "every"

// announced is a Service that some policy has announced.
type announced struct{ service model.Name }

func (a announced) Key() string { return a.service.String() }

// SharedLeases adds the Leases of several Services to g.
func SharedLeases(
	g *flow.Graph, services *flow.Table[model.Object[*corev1.Service]], policies *flow.Table[model.Object[*v2alpha1.CiliumL2AnnouncementPolicy]],
) *flow.Table[SharedLease] {
	all := flow.NewIndex(policies, func(model.Object[*v2alpha1.CiliumL2AnnouncementPolicy]) []string { return []string{everyKey} })
	byLease := flow.NewIndex(flow.Derive(g, "announced Services", services, flow.Equal[announced],
		func(r *flow.Reader, s model.Object[*corev1.Service]) []announced {
			if s.Value.Spec.Type != corev1.ServiceTypeLoadBalancer && len(s.Value.Spec.ExternalIPs) == 0 {
				return nil
			}
			for _, p := range flow.Select(r, all, everyKey) {
				if len(announcement.PolicyOf(p.Value).Addresses(s.Value)) > 0 {
					return []announced{{s.Name}}
				}
			}
			return nil
		}), func(a announced) []string { return []string{announcement.Lease(a.service)} })
	return flow.Derive(g, "shared Leases", flow.Keys(g, "Leases of announcements", byLease), flow.DeepEqual[SharedLease],
		func(r *flow.Reader, lease flow.KeyRow) []SharedLease {
			out := SharedLease{Lease: lease.Key()}
			for _, a := range flow.Select(r, byLease, lease.Key()) {
				out.Services = append(out.Services, a.service)
			}
			if len(out.Services) < 2 {
				return nil
			}
			slices.SortFunc(out.Services, model.Name.Compare)
			return []SharedLease{out}
		})
}
