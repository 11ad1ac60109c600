package agent

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/waggle-mesh/waggle/internal/model"
)

// Place is what a node's data path is built on.
type Place struct {
	PodCIDRs  []netip.Prefix // where its pods' addresses are from
	Addresses []netip.Addr   // as other nodes know it; at least one of each PodCIDR's family
}

// PlaceOf reads a node's object. What is still to come is said as "for …", and
// by whom; empty: nothing.
func PlaceOf(o *corev1.Node, families Families) (p Place, awaited string) {
	all := PodCIDRs(o)
	p.PodCIDRs = families.counting(slices.Clone(all))
	for _, a := range o.Status.Addresses {
		if ip, err := netip.ParseAddr(a.Address); err == nil && a.Type == corev1.NodeInternalIP {
			p.Addresses = append(p.Addresses, ip.Unmap())
		}
	}
	if family, missing := families.missing(all); missing && len(all) > 0 {
		return p, fmt.Sprintf("for a range of family %s in spec.podCIDRs of node %s, which has %v: --enable-%s demands one, and the controller manager gives it (--cluster-cidr)",
			family, o.Name, all, strings.ToLower(string(family)))
	}
	if len(p.PodCIDRs) == 0 && len(all) > 0 {
		return p, fmt.Sprintf("for a range in spec.podCIDRs of node %s of a family that is not switched off, it has %v: see --enable-ipv4 and --enable-ipv6", o.Name, all)
	}
	if len(p.PodCIDRs) == 0 {
		return p, "for spec.podCIDRs of node " + o.Name + ": is the controller manager run with --allocate-node-cidrs?"
	}
	for _, cidr := range p.PodCIDRs {
		family := model.FamilyOf(cidr.Addr())
		if !slices.ContainsFunc(p.Addresses, func(a netip.Addr) bool { return model.FamilyOf(a) == family }) {
			return p, fmt.Sprintf("for an InternalIP of family %s in status.addresses of node %s, as its PodCIDR %s is: kubelet (--node-ip) or the cloud provider sets it",
				family, o.Name, cidr)
		}
	}
	return p, ""
}

// Own are the node's first addresses of the families that pods have. Others say
// nothing about the cluster: a second family of one node alone would have it
// call the world by other identities than its neighbours do.
func (p Place) Own() (v4, v6 netip.Addr) {
	for _, a := range slices.Backward(p.Addresses) {
		family := model.FamilyOf(a)
		switch {
		case !slices.ContainsFunc(p.PodCIDRs, func(c netip.Prefix) bool { return model.FamilyOf(c.Addr()) == family }):
		case a.Is4():
			v4 = a
		default:
			v6 = a
		}
	}
	return v4, v6
}

// Equal tells whether nothing differs, the order of addresses included: the
// first of each family is the source of what leaves the cluster.
func (p Place) Equal(other Place) bool {
	return slices.Equal(p.PodCIDRs, other.PodCIDRs) && slices.Equal(p.Addresses, other.Addresses)
}

// String names the ranges and the addresses.
func (p Place) String() string {
	return fmt.Sprintf("PodCIDRs %v, addresses %v", p.PodCIDRs, p.Addresses)
}
