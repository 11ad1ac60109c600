package agent

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
)

// node is what its object says of a node.
type node struct {
	Name      string
	Self      bool
	Internal  []netip.Addr // as other nodes know it
	Addresses []netip.Addr // all, Internal's too
	PodCIDRs  []netip.Prefix
	Ingress   []netip.Addr // where its Envoy connects from
	Kept      []netip.Addr // of its PodCIDRs, router and ingress address
	Have      map[string]string
}

func (n node) Key() string { return n.Name }

// address is where other nodes reach the node, of the family that comes first.
func (n node) address() string {
	if len(n.Internal) == 0 {
		return ""
	}
	return n.Internal[0].String()
}

// everywhere are all addresses that are the node's.
func (n node) everywhere() []string { return texts(slices.Concat(n.Addresses, n.Kept)) }

// internals are the keys under which other nodes' endpoints name the node.
func (n node) internals() []string { return texts(n.Internal) }

// internal is where other nodes reach the node, of the family of a if there
// is one.
func (n node) internal(a netip.Addr) netip.Addr {
	for _, own := range n.Internal {
		if own.Is4() == a.Is4() {
			return own
		}
	}
	if len(n.Internal) > 0 {
		return n.Internal[0]
	}
	return netip.Addr{}
}

// Names of annotations of a node.
const (
	annotationIngress4 = "network.cilium.io/ipv4-Ingress-ip"
	annotationIngress6 = "network.cilium.io/ipv6-Ingress-ip"
	annotationRouter4  = "network.cilium.io/ipv4-cilium-host"
	annotationRouter6  = "network.cilium.io/ipv6-cilium-host"
	annotationCIDR4    = "network.cilium.io/ipv4-pod-cidr"
	annotationCIDR6    = "network.cilium.io/ipv6-pod-cidr"
)

func (n *NodeGraph) node(_ *flow.Reader, o model.Object[*corev1.Node]) []node {
	out := node{Name: o.Name.Name, Self: o.Name.Name == n.settings.Node, PodCIDRs: n.settings.Families.counting(PodCIDRs(o.Value)), Have: map[string]string{}}
	for _, a := range o.Value.Status.Addresses {
		ip, err := netip.ParseAddr(a.Address)
		if err != nil {
			continue // a name
		}
		out.Addresses = append(out.Addresses, ip.Unmap())
		if a.Type == corev1.NodeInternalIP {
			out.Internal = append(out.Internal, ip.Unmap())
		}
	}
	for name, text := range n.annotations(out.PodCIDRs) {
		if a, err := netip.ParseAddr(text); err == nil {
			out.Kept = append(out.Kept, a)
		}
		if v, ok := o.Value.Annotations[name]; ok {
			out.Have[name] = v
		}
	}
	slices.SortFunc(out.Kept, netip.Addr.Compare)
	for _, name := range []string{annotationIngress4, annotationIngress6} {
		// Beyond its own range a node could give anybody's address away.
		if ip, err := netip.ParseAddr(out.Have[name]); err == nil && contains(out.PodCIDRs, ip.Unmap()) {
			out.Ingress = append(out.Ingress, ip.Unmap())
		}
	}
	return []node{out}
}

func contains(ranges []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return p.Contains(a) })
}

// PodCIDRs are the ranges of a node's pods, as far as they can be read.
func PodCIDRs(o *corev1.Node) (out []netip.Prefix) {
	texts := o.Spec.PodCIDRs
	if len(texts) == 0 && o.Spec.PodCIDR != "" {
		texts = []string{o.Spec.PodCIDR}
	}
	for _, text := range texts {
		if p, err := netip.ParsePrefix(text); err == nil {
			out = append(out, p.Masked())
		}
	}
	return out
}

// annotations are those of a node with these PodCIDRs; without an address of
// a family, the value is empty.
func (n *NodeGraph) annotations(podCIDRs []netip.Prefix) map[string]string {
	out := map[string]string{
		annotationIngress4: "", annotationIngress6: "", annotationRouter4: "", annotationRouter6: "",
		annotationCIDR4: "", annotationCIDR6: "",
	}
	for _, p := range podCIDRs {
		ingress, router, cidr := annotationIngress4, annotationRouter4, annotationCIDR4
		if p.Addr().Is6() {
			ingress, router, cidr = annotationIngress6, annotationRouter6, annotationCIDR6
		}
		if a := n.settings.Ingress(p); a.IsValid() && out[cidr] == "" { // of the first range of each family
			out[ingress], out[router], out[cidr] = a.String(), n.settings.Router(p).String(), p.String()
		}
	}
	return out
}

// Annotated are the annotations of a node's object that agents make, as far as
// it has them, for their removal.
func Annotated(o *corev1.Node) map[string]*string {
	out := map[string]*string{}
	for _, name := range []string{annotationIngress4, annotationIngress6, annotationRouter4, annotationRouter6, annotationCIDR4, annotationCIDR6} {
		if _, ok := o.Annotations[name]; ok {
			out[name] = nil
		}
	}
	return out
}

// NodeAnnotations are those that this node's object should have and has not.
type NodeAnnotations struct {
	Node   string
	Values map[string]*string // nil: to be removed
}

// Key is the node's name.
func (a NodeAnnotations) Key() string { return a.Node }

// routes makes the ways to other nodes' pods, and what this node publishes.
func (n *NodeGraph) routes(g *flow.Graph) {
	n.Routes = flow.Derive(g, "node routes", n.nodes, flow.Equal[model.NodeRoute],
		func(r *flow.Reader, other node) (out []model.NodeRoute) {
			if other.Self {
				return nil
			}
			for _, p := range other.PodCIDRs {
				if via := other.internal(p.Addr()); via.Is4() == p.Addr().Is4() && via.IsValid() {
					out = append(out, model.NodeRoute{Prefix: p, Via: via})
				}
			}
			return out
		})
	n.Annotations = flow.Derive(g, "node annotations", n.nodes, same[NodeAnnotations],
		func(_ *flow.Reader, self node) []NodeAnnotations {
			if !self.Self {
				return nil
			}
			values := map[string]*string{}
			for name, want := range n.annotations(self.PodCIDRs) {
				have, ok := self.Have[name]
				switch {
				case want == "" && ok:
					values[name] = nil
				case want != "" && have != want:
					values[name] = &want
				}
			}
			if len(values) == 0 {
				return nil
			}
			return []NodeAnnotations{{self.Name, values}}
		})
}

// rank orders what is said of one address: the lowest holds.
type rank int

const (
	ofThisNode rank = iota
	ofThisNodesPods
	ofIngress
	ofAPIServer
	ofOtherNode
	ofOtherPods
	ofPodCIDR
)

// said is what somebody says of an address.
type said struct {
	model.IPIdentity
	rank  rank
	since int64  // the youngest holds, of one rank
	by    string // a total order
}

func (s said) Key() string { return model.Join(s.IPIdentity.Key(), s.by) }

// before orders what is said of one address, what holds first.
func (s said) before(other said) int {
	switch {
	case s.rank != other.rank:
		return int(s.rank - other.rank)
	case s.since != other.since:
		return int(max(-1, min(1, other.since-s.since)))
	}
	return strings.Compare(s.by, other.by)
}

func (n *NodeGraph) ipIdentities(g *flow.Graph) {
	all := flow.Union(g, "said of addresses", flow.Equal[said],
		flow.Derive(g, "said by nodes", n.nodes, flow.Equal[said], n.saidByNode),
		flow.Derive(g, "said by this node's pods", n.PodEndpoints, flow.Equal[said], n.saidByPod),
		flow.Derive(g, "said by CiliumEndpoints", n.in.Endpoints, flow.Equal[said], n.saidByEndpoint(flow.NewIndex(n.nodes, node.internals))),
		flow.Derive(g, "said by the API server", n.in.EndpointSlices, flow.Equal[said], saidBySlice),
	)
	byAddress := flow.NewIndex(all, func(s said) []string { return []string{s.IPIdentity.Key()} })
	n.IPIdentities = flow.Derive(g, "ipcache", flow.Keys(g, "addresses", byAddress), flow.Equal[model.IPIdentity],
		func(r *flow.Reader, k flow.KeyRow) []model.IPIdentity {
			return []model.IPIdentity{slices.MinFunc(flow.Select(r, byAddress, k.Key()), said.before).IPIdentity}
		})
}

// host is the prefix of one address.
func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func (n *NodeGraph) saidByNode(_ *flow.Reader, of node) []said {
	out := map[string]said{}
	say := func(p netip.Prefix, id model.Identity, r rank) {
		if !p.IsValid() {
			return
		}
		row := said{IPIdentity: model.IPIdentity{Prefix: p, Identity: id, Cluster: true}, rank: r, by: model.Join("node", of.Name)}
		if first, ok := out[row.Key()]; !ok || r < first.rank {
			out[row.Key()] = row
		}
	}
	id, r := model.IdentityRemoteNode, ofOtherNode
	ingress, own := of.Ingress, n.annotations(of.PodCIDRs)
	if of.Self {
		id, r = model.IdentityHost, ofThisNode
		ingress = nil
		for _, text := range []string{own[annotationIngress4], own[annotationIngress6]} {
			if a, err := netip.ParseAddr(text); err == nil {
				ingress = append(ingress, a)
			}
		}
	}
	for _, a := range of.Addresses {
		say(host(a), id, r)
	}
	for _, a := range ingress {
		say(host(a), model.IdentityIngress, ofIngress)
	}
	for _, text := range []string{own[annotationRouter4], own[annotationRouter6]} {
		if a, err := netip.ParseAddr(text); err == nil {
			say(host(a), id, r)
		}
	}
	for _, p := range of.PodCIDRs {
		say(p, model.IdentityUnmanaged, ofPodCIDR) // a pod that nobody has told of yet
	}
	return slices.Collect(maps.Values(out))
}

func (n *NodeGraph) saidByPod(r *flow.Reader, e model.PodEndpoint) (out []said) {
	self, _ := flow.Get(r, n.nodes, n.settings.Node)
	for _, a := range e.Addresses {
		out = append(out, said{IPIdentity: model.IPIdentity{Prefix: host(a), Identity: e.Identity, Cluster: true, Node: self.internal(a)},
			rank: ofThisNodesPods, by: model.Join("pod", e.Key())})
	}
	return out
}

// saidByEndpoint is what other nodes say of their pods. They are believed about
// addresses of their own PodCIDRs, and only that there is a pod: else whoever
// may write CiliumEndpoints could give any address any identity, that of a node
// too, and have traffic to it leave the cluster unmasqueraded.
func (n *NodeGraph) saidByEndpoint(byInternal *flow.Index[node]) func(*flow.Reader, model.Object[*ciliumv2.CiliumEndpoint]) []said {
	return func(r *flow.Reader, o model.Object[*ciliumv2.CiliumEndpoint]) (out []said) {
		at, id, ok := placeOf(o.Value.Status)
		if !ok {
			return nil
		}
		var ranges []netip.Prefix
		for _, of := range flow.Select(r, byInternal, at.String()) {
			if of.Self {
				return nil // its devices say more
			}
			ranges = append(ranges, of.PodCIDRs...)
		}
		for _, pair := range o.Value.Status.Networking.Addressing {
			for _, text := range []string{pair.IPV4, pair.IPV6} {
				if a, err := netip.ParseAddr(text); err == nil && contains(ranges, a.Unmap()) {
					out = append(out, said{IPIdentity: model.IPIdentity{Prefix: host(a.Unmap()), Identity: id, Cluster: true, Node: at},
						rank: ofOtherPods, since: o.Value.CreationTimestamp.Unix(), by: model.Join("endpoint", o.Name.String())})
				}
			}
		}
		slices.SortFunc(out, func(a, b said) int { return strings.Compare(a.Key(), b.Key()) })
		return slices.CompactFunc(out, func(a, b said) bool { return a.Key() == b.Key() })
	}
}

// placeOf are node and identity of a CiliumEndpoint. False: it says nothing
// that a pod can be.
func placeOf(status ciliumv2.EndpointStatus) (at netip.Addr, id model.Identity, ok bool) {
	if status.Networking == nil {
		return at, 0, false
	}
	at, err := netip.ParseAddr(status.Networking.NodeIP)
	id, ok = identityOf(status)
	return at.Unmap(), id, ok && err == nil
}

// identityOf is a CiliumEndpoint's identity, init while it has none. False: it
// is no pod's.
func identityOf(status ciliumv2.EndpointStatus) (model.Identity, bool) {
	i := status.Identity
	if i == nil || i.ID == int64(model.IdentityInit) {
		return model.IdentityInit, true
	}
	if i.ID < int64(model.FirstPodIdentity) || i.ID > int64(model.LastPodIdentity) {
		return 0, false
	}
	return model.Identity(i.ID), true
}

// saidBySlice is where the API server is.
func saidBySlice(_ *flow.Reader, o model.Object[*discoveryv1.EndpointSlice]) (out []said) {
	if o.Name.Namespace != "default" || o.Value.Labels[discoveryv1.LabelServiceName] != "kubernetes" {
		return nil
	}
	seen := map[netip.Addr]bool{}
	for _, e := range o.Value.Endpoints {
		for _, text := range e.Addresses {
			if a, err := netip.ParseAddr(text); err == nil && !seen[a.Unmap()] {
				seen[a.Unmap()] = true
				out = append(out, said{IPIdentity: model.IPIdentity{Prefix: host(a.Unmap()), Identity: model.IdentityKubeAPIServer, Cluster: true},
					rank: ofAPIServer, by: model.Join("slice", o.Name.String())})
			}
		}
	}
	return out
}
