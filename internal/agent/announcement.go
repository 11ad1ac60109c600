package agent

import (
	"cmp"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/waggle-mesh/waggle/api/cilium.io/v2alpha1"
	"github.com/waggle-mesh/waggle/internal/announcement"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
)

// announcingPolicy is a policy, and whether this node may announce by it.
type announcingPolicy struct {
	announcement.Policy
	here bool
}

// offer is what some node is to announce of a Service.
type offer struct {
	service   model.Name
	since     int64        // when the Service was created
	given     []netip.Addr // by the cluster; others the Service's author chose
	addresses []netip.Addr // of any node
	here      []netip.Addr // those that this node may announce
}

func (o offer) Key() string { return o.service.String() }

// first is that of the Services that share an address whose Lease decides who
// announces it. As in the data path, an address that was given counts more than
// one that a Service claims, else anybody could have another's not announced.
func first(sharing []offer, a netip.Addr) model.Name {
	claimed := func(o offer) int {
		if slices.Contains(o.given, a) {
			return 0
		}
		return 1
	}
	return slices.MinFunc(sharing, func(x, y offer) int {
		return cmp.Or(claimed(x)-claimed(y), cmp.Compare(x.since, y.since), x.service.Compare(y.service))
	}).service
}

// announcements are the Services that this node can stand for: it may, and who
// asks it for them is served.
func (n *NodeGraph) announcements(g *flow.Graph) {
	policies := flow.Derive(g, "announcing policies", n.in.Policies, same[announcingPolicy],
		func(r *flow.Reader, o model.Object[*v2alpha1.CiliumL2AnnouncementPolicy]) []announcingPolicy {
			p := announcement.PolicyOf(o.Value)
			self, ok := flow.Get(r, n.in.Nodes, n.settings.Node)
			return []announcingPolicy{{p, ok && p.Node(self.Value.Labels, n.settings.Uplink)}}
		})
	const all = "all"
	allPolicies := flow.NewIndex(policies, func(announcingPolicy) []string { return []string{all} })
	offers := flow.Derive(g, "offered announcements", n.in.Services, same[offer],
		func(r *flow.Reader, s model.Object[*corev1.Service]) []offer {
			o := offer{service: s.Name, since: s.Value.CreationTimestamp.Unix(), given: announcement.Given(s.Value)}
			for _, p := range flow.Select(r, allPolicies, all) {
				addresses := p.Addresses(s.Value)
				o.addresses = append(o.addresses, addresses...)
				if p.here {
					o.here = append(o.here, addresses...)
				}
			}
			if len(o.addresses) == 0 {
				return nil
			}
			return []offer{o}
		})
	byAddress := flow.NewIndex(offers, func(o offer) []string { return texts(unique(o.addresses)) })
	byService := flow.NewIndex(n.Frontends, func(f model.Frontend) []string { return []string{f.Service.String()} })
	n.Announcements = flow.Derive(g, "announcements", offers, same[model.Announcement],
		func(r *flow.Reader, o offer) []model.Announcement {
			frontends := flow.Select(r, byService, o.service.String())
			addresses := slices.DeleteFunc(unique(o.here), func(a netip.Addr) bool {
				return first(flow.Select(r, byAddress, a.String()), a) != o.service ||
					!slices.ContainsFunc(frontends, func(f model.Frontend) bool { return f.Address.Addr() == a && n.serves(r, f) })
			})
			if len(addresses) == 0 {
				return nil
			}
			return []model.Announcement{{Service: o.service, Addresses: addresses}}
		})
}

// serves tells whether this node has somebody for those who ask from outside.
// Where no node has, because there is no backend at all, one is as good as
// another: all can say so.
func (n *NodeGraph) serves(r *flow.Reader, f model.Frontend) bool {
	if f.Redirect != "" {
		_, live := flow.Get(r, n.in.Live, f.Redirect)
		return live
	}
	if !f.KeepSource {
		return true
	}
	set, _ := flow.Get(r, n.BackendSets, f.External)
	return len(set.Backends) > 0
}

func unique(all []netip.Addr) []netip.Addr {
	return slices.Compact(slices.SortedFunc(slices.Values(all), netip.Addr.Compare))
}
