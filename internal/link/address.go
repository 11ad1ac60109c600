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

// setAddresses makes lo have just these of our addresses.
func (n *Node) setAddresses(want []netip.Addr) error {
	lo, err := n.handle.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("look up lo: %w", err)
	}
	var errs []error
	have, err := n.ourAddresses(lo)
	if err != nil {
		return err
	}
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

// loAddress is an address of the node that the kernel never chooses as a
// source by itself: it would be the one nearest to every pod's, and kubelet's
// probes would look like traffic from the outside. Such are scope host in
// IPv4, and deprecated ones in IPv6.
func loAddress(a netip.Addr) *netlink.Addr {
	if a.Is4() {
		return &netlink.Addr{IPNet: prefix(single(a)), Scope: unix.RT_SCOPE_HOST, Label: addressLabel}
	}
	return &netlink.Addr{IPNet: prefix(single(a)), Flags: unix.IFA_F_NODAD, ValidLft: math.MaxUint32, PreferedLft: 0}
}

// ourAddresses are told by their label, in IPv6 by being deprecated: lo has
// no others that are.
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
