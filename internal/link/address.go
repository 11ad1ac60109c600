package link

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// setAddresses makes just these the node's own, beside those that others gave
// it. No device has the IPv4 ones: programs that list the machine's addresses
// would find them before those of the uplink, and Envoy tells backends the first
// as the address of the node's own processes. In IPv6 nobody could bind to what
// no device has, and Envoy is told the processes' address by themselves.
func (n *Node) setAddresses(want []netip.Addr) error {
	lo, err := n.handle.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("look up lo: %w", err)
	}
	var v4 []netip.Prefix
	var v6 []netip.Addr
	for _, a := range want {
		if a.Is4() {
			v4 = append(v4, single(a))
		} else {
			v6 = append(v6, a)
		}
	}
	// The route takes the place of the kernel's own to an address that a
	// version before had added to lo: at no moment is it nobody's.
	local := netlink.Route{Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST, LinkIndex: lo.Attrs().Index, Protocol: protocolNode}
	if err := n.setRoutes(local, v4); err != nil {
		return err
	}
	return n.setLoAddresses(lo, v6)
}

// setLoAddresses makes lo have just these of our addresses.
func (n *Node) setLoAddresses(lo netlink.Link, want []netip.Addr) error {
	have, err := n.ourAddresses(lo)
	if err != nil {
		return err
	}
	var errs []error
	var there []netip.Addr
	for _, a := range have {
		address, _ := addrOf(a.IP)
		if there = append(there, address); !slices.Contains(want, address) {
			if err := n.handle.AddrDel(lo, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
				errs = append(errs, fmt.Errorf("remove address %s from lo: %w", address, err))
			}
		}
	}
	for _, address := range want {
		if slices.Contains(there, address) {
			continue
		}
		if err := n.handle.AddrReplace(lo, loAddress(address)); err != nil {
			errs = append(errs, fmt.Errorf("add address %s to lo: %w", address, err))
		}
	}
	return errors.Join(errs...)
}

// loAddress is an IPv6 address of the node that the kernel never chooses as a
// source by itself, for it is deprecated: it would be the one nearest to every
// pod's, and kubelet's probes would look like traffic from the outside.
func loAddress(a netip.Addr) *netlink.Addr {
	return &netlink.Addr{IPNet: prefix(single(a)), Flags: unix.IFA_F_NODAD, ValidLft: math.MaxUint32, PreferedLft: 0}
}

// ourAddresses are told by being deprecated: lo has no others that are. Those
// of IPv4, which a version before had added, are told by their label.
func (n *Node) ourAddresses(lo netlink.Link) ([]netlink.Addr, error) {
	all, err := dump(func() ([]netlink.Addr, error) { return n.handle.AddrList(lo, unix.AF_UNSPEC) })
	if err != nil {
		return nil, fmt.Errorf("list addresses of lo: %w", err)
	}
	return slices.DeleteFunc(all, func(a netlink.Addr) bool {
		if a.IP.To4() != nil {
			return a.Label != addressLabel
		}
		return a.Flags&unix.IFA_F_DEPRECATED == 0
	}), nil
}
