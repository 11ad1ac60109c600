package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Networks are the address ranges of a sandbox: in each list one prefix per
// family, the primary family first, the same families in all lists.
type Networks struct {
	NodeCIDRs    []netip.Prefix // hosts of the link that joins the members
	PodCIDRs     []netip.Prefix // /16 or /56: the n-th node has its n-th /24 or /64
	ServiceCIDRs []netip.Prefix // ClusterIPs
	LBCIDRs      []netip.Prefix // LoadBalancer addresses
}

// Places in the node network, in every family.
const (
	controlPlaneIndex = 1
	firstNodeIndex    = 11
	extIndex          = 200
	hostIndex         = 254
	maxNodes          = extIndex - firstNodeIndex
)

// Families are the values of -ip-families: primary first.
var Families = map[string][]bool{ // true: IPv6
	"ipv4":      {false},
	"ipv6":      {true},
	"ipv4,ipv6": {false, true},
	"ipv6,ipv4": {true, false},
}

// Slots is how many sandboxes find default ranges of their own on a machine.
const Slots = 32

// DefaultNetworks are the ranges of the slot-th sandbox on a machine: pods and
// Services may share theirs with another sandbox, nodes and LoadBalancers not.
func DefaultNetworks(families []bool, slot int) Networks {
	var n Networks
	for _, v6 := range families {
		node, pod, service, lb := fmt.Sprintf("10.%d.0.0/16", 93+slot), "10.244.0.0/16", "10.96.0.0/16", fmt.Sprintf("172.18.%d.0/24", 255-slot)
		if v6 {
			node, pod, service, lb = fmt.Sprintf("fd93:%x::/64", slot), "fd00:244::/56", "fd00:96::/112", fmt.Sprintf("fd93:%x:ffff::/112", slot)
		}
		n.NodeCIDRs = append(n.NodeCIDRs, netip.MustParsePrefix(node))
		n.PodCIDRs = append(n.PodCIDRs, netip.MustParsePrefix(pod))
		n.ServiceCIDRs = append(n.ServiceCIDRs, netip.MustParsePrefix(service))
		n.LBCIDRs = append(n.LBCIDRs, netip.MustParsePrefix(lb))
	}
	return n
}

// SameFamilies tells whether the networks are of these families, in this order.
func SameFamilies(n Networks, families []bool) bool {
	return slices.EqualFunc(n.NodeCIDRs, families, func(p netip.Prefix, v6 bool) bool { return p.Addr().Is6() == v6 })
}

// Fill works out the members from the networks and refuses what cannot work.
func (p *Plan) Fill(nodes int) error {
	if p.Name == "" || len(p.Name) > 11 || strings.ContainsAny(p.Name, "/ .@:") {
		return fmt.Errorf("-name %q: must have 1 to 11 characters, none of / . @ : or blank", p.Name)
	}
	if nodes < 1 || nodes > maxNodes {
		return fmt.Errorf("-nodes %d: must be 1 to %d", nodes, maxNodes)
	}
	for _, d := range []string{"/etc/", "/opt/", "/var/", "/run/"} { // a node has its own of these
		for flag, dir := range map[string]string{"-dir": p.Dir, "-cache": p.Cache} {
			if strings.HasPrefix(dir+"/", d) {
				return fmt.Errorf("%s %s: must not be under %s, which every node has its own of", flag, dir, d)
			}
		}
	}
	if err := p.Networks.check(); err != nil {
		return err
	}
	p.Members = []Member{
		{Name: "ext", IPs: each(p.NodeCIDRs, extIndex)},
		{Name: "cp", IPs: each(p.NodeCIDRs, controlPlaneIndex)},
	}
	for i := 1; i <= nodes; i++ {
		m := Member{Name: fmt.Sprintf("n%d", i), IPs: each(p.NodeCIDRs, firstNodeIndex+i-1)}
		for _, c := range p.PodCIDRs {
			m.PodCIDRs = append(m.PodCIDRs, podCIDR(c, i))
		}
		p.Members = append(p.Members, m)
	}
	if p.LBMode == LBRouted {
		if m, err := p.Member(p.LBNode); err != nil || !m.IsNode() {
			return fmt.Errorf("-lb-node %s: not a node of this sandbox", p.LBNode)
		}
	}
	return nil
}

func (n Networks) check() error {
	var all []netip.Prefix
	for flag, list := range map[string][]netip.Prefix{"-node-cidr": n.NodeCIDRs, "-pod-cidr": n.PodCIDRs, "-service-cidr": n.ServiceCIDRs, "-lb-cidr": n.LBCIDRs} {
		if len(list) != len(n.NodeCIDRs) {
			return fmt.Errorf("%s has %d ranges, -node-cidr has %d: every list needs one for each family", flag, len(list), len(n.NodeCIDRs))
		}
		for i, c := range list {
			if c.Addr().Is6() != n.NodeCIDRs[i].Addr().Is6() {
				return fmt.Errorf("%s %s: -node-cidr has another family in this place", flag, c)
			}
			if c != c.Masked() {
				return fmt.Errorf("%s %s: has bits set below its length; write %s", flag, c, c.Masked())
			}
			for _, o := range all {
				if c.Overlaps(o) {
					return fmt.Errorf("%s %s: overlaps %s, another range of this sandbox", flag, c, o)
				}
			}
			all = append(all, c)
		}
	}
	for _, c := range n.NodeCIDRs {
		if c.Addr().BitLen()-c.Bits() < 8 {
			return fmt.Errorf("-node-cidr %s: too small, a /24 or a /120 at least", c)
		}
	}
	for _, c := range n.PodCIDRs {
		if want := podBits(c) - 8; c.Bits() > want {
			return fmt.Errorf("-pod-cidr %s: too small, a /%d at least", c, want)
		}
	}
	return nil
}

// Nth is the n-th address of a prefix; n is below 65536.
func Nth(p netip.Prefix, n int) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	low := int(b[len(b)-2])<<8 + int(b[len(b)-1]) + n
	b[len(b)-2], b[len(b)-1] = byte(low>>8), byte(low)
	a, _ := netip.AddrFromSlice(b)
	return a
}

// podBits is the length of one node's pod range.
func podBits(p netip.Prefix) int {
	if p.Addr().Is6() {
		return 64
	}
	return 24
}

// podCIDR is the n-th node's part of the pod range.
func podCIDR(p netip.Prefix, n int) netip.Prefix {
	b := p.Masked().Addr().AsSlice()
	bits := podBits(p)
	b[bits/8-1] += byte(n)
	a, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(a, bits)
}

func each(ps []netip.Prefix, n int) []netip.Addr {
	var as []netip.Addr
	for _, p := range ps {
		as = append(as, Nth(p, n))
	}
	return as
}

// Join lists addresses or prefixes with commas, as Kubernetes' flags want them.
func Join[T fmt.Stringer](list []T) string {
	var s []string
	for _, x := range list {
		s = append(s, x.String())
	}
	return strings.Join(s, ",")
}
