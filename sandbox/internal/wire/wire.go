// Package wire joins the members of a sandbox, and the machine, to one link.
//
//	host  sbx-NAME ──┐
//	ext   br0 ───────┤  bridge, default router of all, and the client "outside"
//	cp    eth0 ──────┤
//	n1    eth0 ──────┘
//
// Every interface lies in, or has its peer in, a member's network namespace, so
// that all of it vanishes with the members. The machine gets one interface and
// routes through it; nothing else of its network is touched.
package wire

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/sandbox/internal/plan"
)

// bridge is the name of the link in ext.
const bridge = "br0"

// space edits the network of one namespace.
type space struct {
	*netlink.Handle
	mtu int
}

func open(pid, mtu int) (*space, error) {
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return nil, fmt.Errorf("open network namespace of process %d: %w", pid, err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	return &space{h, mtu}, nil
}

// up gives a link its addresses and sets it up.
func (s *space) up(name string, addrs []netip.Addr, nets []netip.Prefix) (netlink.Link, error) {
	l, err := s.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find link %s: %w", name, err)
	}
	for i, a := range addrs {
		addr := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(a, nets[i].Bits()))}
		if a.Is6() {
			addr.Flags = unix.IFA_F_NODAD // usable at once: nobody else is on this link
		}
		if err := s.AddrReplace(l, addr); err != nil {
			return nil, fmt.Errorf("add %s to %s: %w", addr, name, err)
		}
	}
	if err := s.LinkSetUp(l); err != nil {
		return nil, fmt.Errorf("set %s up: %w", name, err)
	}
	return l, nil
}

func (s *space) attrs(name string) netlink.LinkAttrs {
	a := netlink.NewLinkAttrs()
	a.Name, a.MTU = name, s.mtu
	return a
}

func (s *space) route(r netlink.Route) error {
	if err := s.RouteReplace(&r); err != nil {
		return fmt.Errorf("route %s: %w", r, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// Connect joins a member, running as process pid, to the bridge in ext, running
// as process hub. For ext itself it makes the bridge and joins the machine to it.
func Connect(p *plan.Plan, m plan.Member, pid, hub int) error {
	s, err := open(pid, p.MTU)
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.up("lo", nil, nil); err != nil {
		return err
	}
	if m.Name == "ext" {
		return connectExt(p, m, s, pid)
	}
	x, err := open(hub, p.MTU)
	if err != nil {
		return err
	}
	defer x.Close()
	if l, err := x.LinkByName(m.Name); err == nil { // of a member killed just now
		if err := x.LinkDel(l); err != nil {
			return fmt.Errorf("remove old link %s: %w", m.Name, err)
		}
	}
	veth := &netlink.Veth{LinkAttrs: x.attrs(m.Name), PeerName: "eth0", PeerMTU: uint32(p.MTU), PeerHardwareAddr: hardwareAddr(m), PeerNamespace: netlink.NsPid(pid)}
	if err := x.join(veth); err != nil {
		return err
	}
	if _, err := s.up("eth0", m.IPs, p.NodeCIDRs); err != nil {
		return err
	}
	for i, via := range p.Members[0].IPs {
		if err := s.route(netlink.Route{Dst: ipNet(everything(via)), Gw: via.AsSlice()}); err != nil {
			return err
		}
		for _, n := range p.Nodes() {
			if n.Name == m.Name || m.IsNode() && p.CNIConf == plan.NoCNI { // a plugin of the user's brings its routes
				continue
			}
			if err := s.route(netlink.Route{Dst: ipNet(n.PodCIDRs[i]), Gw: n.IPs[i].AsSlice()}); err != nil {
				return err
			}
		}
	}
	return nil
}

func everything(family netip.Addr) netip.Prefix {
	if family.Is6() {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}

// hardwareAddr is the same after a reboot: neighbours remember it.
func hardwareAddr(m plan.Member) net.HardwareAddr {
	ip := m.IP().AsSlice()
	return append(net.HardwareAddr{0x02, 0x5b}, ip[len(ip)-4:]...)
}

// join adds a pair of links and puts the near end on the bridge.
func (s *space) join(veth *netlink.Veth) error {
	if err := s.LinkAdd(veth); err != nil {
		return fmt.Errorf("add link %s: %w", veth.Name, err)
	}
	return s.enslave(veth.Name)
}

func (s *space) enslave(name string) error {
	br, err := s.LinkByName(bridge)
	if err != nil {
		return fmt.Errorf("find link %s: %w", bridge, err)
	}
	l, err := s.up(name, nil, nil)
	if err != nil {
		return err
	}
	if err := s.LinkSetMaster(l, br); err != nil {
		return fmt.Errorf("put %s on the bridge: %w", name, err)
	}
	return nil
}

func connectExt(p *plan.Plan, m plan.Member, s *space, pid int) error {
	if err := s.LinkAdd(&netlink.Bridge{LinkAttrs: s.attrs(bridge)}); err != nil {
		return fmt.Errorf("add bridge: %w", err)
	}
	br, err := s.up(bridge, m.IPs, p.NodeCIDRs)
	if err != nil {
		return err
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	host := &space{h, p.MTU}
	defer host.Close()
	if err := host.LinkAdd(&netlink.Veth{LinkAttrs: host.attrs(p.Link()), PeerName: "host", PeerMTU: uint32(p.MTU), PeerNamespace: netlink.NsPid(pid)}); err != nil {
		return fmt.Errorf("add link %s: %w", p.Link(), err)
	}
	if err := s.enslave("host"); err != nil {
		return err
	}
	link, err := host.up(p.Link(), p.HostIPs(), p.NodeCIDRs)
	if err != nil {
		return err
	}
	if err := s.routeLB(p, br); err != nil {
		return err
	}
	if err := host.routeLB(p, link); err != nil {
		return err
	}
	return rejectInside(p, s, host, link)
}

// routeLB leads to the LoadBalancer addresses.
func (s *space) routeLB(p *plan.Plan, link netlink.Link) error {
	for i, c := range p.LBCIDRs {
		r := netlink.Route{Dst: ipNet(c), LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK}
		if p.LBMode == plan.LBRouted {
			n, err := p.Member(p.LBNode)
			if err != nil {
				return err
			}
			r = netlink.Route{Dst: ipNet(c), Gw: n.IPs[i].AsSlice()}
		}
		if err := s.route(r); err != nil {
			return err
		}
	}
	return nil
}

// rejectInside keeps pod and Service addresses from being found somewhere else:
// the machine's default route leads to who knows what, and a test that dials
// such an address from outside must see that nobody is there. The machine sends
// them to ext, ext refuses them. Sandboxes share these ranges, hence a metric
// of its own for each.
func rejectInside(p *plan.Plan, ext, host *space, link netlink.Link) error {
	for i, via := range p.Members[0].IPs {
		for _, c := range []netip.Prefix{p.PodCIDRs[i], p.ServiceCIDRs[i]} {
			if err := ext.route(netlink.Route{Dst: ipNet(c), Type: unix.RTN_UNREACHABLE}); err != nil {
				return err
			}
			if err := host.route(netlink.Route{Dst: ipNet(c), Gw: via.AsSlice(), Priority: 1000 + link.Attrs().Index}); err != nil {
				return err
			}
		}
	}
	return nil
}

// RemoveHostLink removes the machine's end of the link. The kernel does it too,
// a little later, when ext's namespace goes.
func RemoveHostLink(name string) error {
	for {
		l, err := netlink.LinkByName(name)
		if err != nil {
			if _, gone := err.(netlink.LinkNotFoundError); gone {
				return nil
			}
			return fmt.Errorf("find link %s: %w", name, err)
		}
		_ = netlink.LinkDel(l) // ENODEV: gone between the two calls
	}
}

// Taken finds a route or address of the machine that overlaps one of the
// prefixes, other than those of a link named except. Default routes do not count.
func Taken(prefixes []netip.Prefix, except string) (string, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return "", fmt.Errorf("list links: %w", err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return "", fmt.Errorf("list routes: %w", err)
	}
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return "", fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		routes = append(routes, netlink.Route{Dst: a.IPNet, LinkIndex: a.LinkIndex})
	}
	for _, r := range routes {
		if r.Dst == nil || names[r.LinkIndex] == except {
			continue
		}
		a, _ := netip.AddrFromSlice(r.Dst.IP)
		bits, size := r.Dst.Mask.Size()
		if size == 32 {
			a = a.Unmap()
		}
		dst := netip.PrefixFrom(a, bits).Masked()
		for _, p := range prefixes {
			if bits > 0 && p.Overlaps(dst) {
				return fmt.Sprintf("%s, which this machine has on %s", dst, names[r.LinkIndex]), nil
			}
		}
	}
	return "", nil
}
