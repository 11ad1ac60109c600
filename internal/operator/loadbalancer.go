package operator

import (
	corev1 "k8s.io/api/core/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/ipam/loadbalancer"
	"github.com/waggle-mesh/waggle/internal/model"
)

// LoadBalancerInputs are the tables that LoadBalancer reads.
type LoadBalancerInputs struct {
	Services *flow.Table[model.Object[*corev1.Service]]
	Pools    *flow.Table[model.Object[*ciliumv2.CiliumLoadBalancerIPPool]]
	// Classless: Services without a loadBalancerClass are given addresses.
	Classless bool
}

// LoadBalancer is the pipeline that gives Services of type LoadBalancer their
// addresses:
//
//	CiliumLoadBalancerIPPool ─▶ pools ────┐
//	                                      ├─▶ allocated ─▶ Assignments, Uses
//	Service ─▶ requests ──────────────────┘
//
// What one Service has depends on all others; so all is allocated anew at
// each change of a pool or of such a Service.
type LoadBalancer struct {
	Assignments *flow.Table[loadbalancer.Assignment]
	Uses        *flow.Table[loadbalancer.PoolUse]
}

// allocated is all that Allocate has said.
type allocated struct {
	assignments []loadbalancer.Assignment
	uses        []loadbalancer.PoolUse
}

// Key is always the same: there is one row.
func (allocated) Key() string { return anyKey }

// NewLoadBalancer adds the pipeline to g.
func NewLoadBalancer(g *flow.Graph, in LoadBalancerInputs) LoadBalancer {
	requests := flow.Derive(g, "address requests", in.Services, flow.DeepEqual[loadbalancer.Request],
		func(_ *flow.Reader, s model.Object[*corev1.Service]) []loadbalancer.Request {
			if r, ok := loadbalancer.RequestOf(s.Value, in.Classless); ok {
				return []loadbalancer.Request{r}
			}
			return nil
		})
	pools := flow.Derive(g, "address pools", in.Pools, flow.DeepEqual[loadbalancer.Pool],
		func(_ *flow.Reader, p model.Object[*ciliumv2.CiliumLoadBalancerIPPool]) []loadbalancer.Pool {
			return []loadbalancer.Pool{loadbalancer.PoolOf(p.Value)}
		})
	allRequests := flow.NewIndex(requests, func(loadbalancer.Request) []string { return []string{anyKey} })
	allPools := flow.NewIndex(pools, func(loadbalancer.Pool) []string { return []string{anyKey} })
	once := flow.NewTable(g, "allocation", flow.Equal[flow.KeyRow])
	all := flow.Derive(g, "allocated", once, flow.DeepEqual[allocated],
		func(r *flow.Reader, _ flow.KeyRow) []allocated {
			assignments, uses := loadbalancer.Allocate(flow.Select(r, allPools, anyKey), flow.Select(r, allRequests, anyKey))
			return []allocated{{assignments, uses}}
		})
	once.Set(anyKey)
	return LoadBalancer{
		Assignments: flow.Derive(g, "assignments of addresses", all, loadbalancer.Assignment.Equal,
			func(_ *flow.Reader, a allocated) []loadbalancer.Assignment { return a.assignments }),
		Uses: flow.Derive(g, "uses of pools", all, flow.Equal[loadbalancer.PoolUse],
			func(_ *flow.Reader, a allocated) []loadbalancer.PoolUse { return a.uses }),
	}
}
