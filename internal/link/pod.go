package link

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/internal/model"
)

const hostEndPrefix = "lxc"

// CreatePod makes the link of a pod, both ends down, the pod's with its
// addresses: programs are attached to the host's end before UpPod. netns is
// the pod's namespace. It fills the fields of e that name the devices; e's
// Container, PodDevice and Addresses are set. What a try before has left of
// the same pod is replaced; of a try that fails nothing is left.
func (n *Node) CreatePod(netns *os.File, e *model.PodEndpoint) error {
	if err := n.DeletePod(*e); err != nil {
		return err
	}
	sum := podSum(*e)
	e.Interface = hostEnd(*e)
	n.setMaking(e.Interface, true)
	defer n.setMaking(e.Interface, false)
	e.MAC, e.HostMAC = macOf(sum[8:]), macOf(sum[16:])
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr, attrs.Group = e.Interface, n.uplink.MTU, e.HostMAC[:], deviceGroup
	veth := netlink.NewVeth(attrs)
	veth.PeerName, veth.PeerMTU, veth.PeerHardwareAddr = e.PodDevice, uint32(n.uplink.MTU), e.MAC[:]
	veth.PeerNamespace = netlink.NsFd(netns.Fd())
	err := n.handle.LinkAdd(veth)
	if err != nil {
		if errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("make veth %s: the pod has a device %s already", e.Interface, e.PodDevice)
		}
		return fmt.Errorf("make veth %s with peer %s: %w", e.Interface, e.PodDevice, err)
	}
	e.Index = veth.Attrs().Index
	e.Namespace, err = cookieOf(netns)
	if err != nil {
		return errors.Join(err, n.DeletePod(*e))
	}
	if err := n.configurePod(netns, *e); err != nil {
		return errors.Join(err, n.DeletePod(*e))
	}
	return nil
}

// setMaking tells Keep whether a device may have settings that it was born with.
func (n *Node) setMaking(device string, making bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if making {
		n.making[device] = true
	} else {
		delete(n.making, device)
	}
}

func (n *Node) isMaking(device string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.making[device]
}

func (n *Node) configurePod(netns *os.File, e model.PodEndpoint) error {
	err := within(n.options.Namespace, func() error { return apply(hostEndSettings(e.Interface, n.families)) })
	if err != nil {
		return err
	}
	return n.inPod(netns, e, func(h *netlink.Handle, device netlink.Link) error {
		if err := apply(podSettings(e.PodDevice, n.families)); err != nil {
			return err
		}
		for _, a := range e.Addresses {
			if err := h.AddrAdd(device, podAddress(a)); err != nil {
				return fmt.Errorf("add address %s to %s: %w", a, e.PodDevice, err)
			}
		}
		return nil
	})
}

// UpPod lets packets through: devices up, neighbours and routes on both sides.
func (n *Node) UpPod(netns *os.File, e model.PodEndpoint) error {
	host := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: e.Index, Name: e.Interface}}
	if err := n.handle.LinkSetAlias(host, e.Pod.String()); err != nil {
		return fmt.Errorf("set alias of %s: %w", e.Interface, err)
	}
	if err := n.handle.LinkSetUp(host); err != nil {
		return fmt.Errorf("set %s up: %w", e.Interface, err)
	}
	if err := n.inPod(netns, e, func(h *netlink.Handle, device netlink.Link) error { return n.podUp(h, device, e) }); err != nil {
		return err
	}
	for _, a := range e.Addresses {
		if err := n.handle.NeighSet(neighbour(e.Index, a, e.MAC)); err != nil {
			return fmt.Errorf("add neighbour %s of %s: %w", a, e.Interface, err)
		}
		if err := n.handle.RouteReplace(hostRoute(e.Index, a)); err != nil {
			return fmt.Errorf("route %s to %s: %w", a, e.Interface, err)
		}
	}
	return nil
}

// podUp is UpPod's work inside the pod.
func (n *Node) podUp(h *netlink.Handle, device netlink.Link, e model.PodEndpoint) error {
	lo, err := h.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("look up the pod's lo: %w", err)
	}
	for _, up := range []netlink.Link{lo, device} {
		if err := h.LinkSetUp(up); err != nil {
			return fmt.Errorf("set the pod's %s up: %w", up.Attrs().Name, err)
		}
	}
	for _, router := range n.options.Routers {
		if err := h.NeighSet(neighbour(device.Attrs().Index, router, e.HostMAC)); err != nil {
			return fmt.Errorf("add neighbour %s of the pod's %s: %w", router, e.PodDevice, err)
		}
		for _, r := range podRoutes(device, router) {
			if err := h.RouteReplace(&r); err != nil {
				return fmt.Errorf("add the pod's route to %s by %s: %w", prefixOf(r), router, err)
			}
		}
	}
	return nil
}

// CheckPod tells what of a pod's link is not as CreatePod and UpPod make it.
func (n *Node) CheckPod(netns *os.File, e model.PodEndpoint) error {
	host, err := n.handle.LinkByName(e.Interface)
	if err != nil {
		return fmt.Errorf("look up %s: %w", e.Interface, err)
	}
	if a := host.Attrs(); a.Index != e.Index || a.Flags&net.FlagUp == 0 {
		return fmt.Errorf("device %s: index %d and %s, want index %d and up", e.Interface, a.Index, a.Flags, e.Index)
	}
	for _, a := range e.Addresses {
		routes, err := n.routesTo(single(a))
		if err != nil {
			return err
		}
		if len(routes) == 0 || routes[0].LinkIndex != e.Index {
			return fmt.Errorf("no route to %s by %s", a, e.Interface)
		}
	}
	return n.inPod(netns, e, func(h *netlink.Handle, device netlink.Link) error { return n.checkInPod(h, device, e) })
}

func (n *Node) checkInPod(h *netlink.Handle, device netlink.Link, e model.PodEndpoint) error {
	if device.Attrs().Flags&net.FlagUp == 0 {
		return fmt.Errorf("the pod's %s is down", e.PodDevice)
	}
	if err := check(deviceSettings(e.PodDevice, n.families)); err != nil {
		return err
	}
	have, err := dump(func() ([]netlink.Addr, error) { return h.AddrList(device, unix.AF_UNSPEC) })
	if err != nil {
		return fmt.Errorf("list addresses of the pod's %s: %w", e.PodDevice, err)
	}
	for _, want := range e.Addresses {
		if !hasAddress(have, want) {
			return fmt.Errorf("the pod's %s has lost address %s", e.PodDevice, want)
		}
		index, err := defaultDevice(h, familyOf(want))
		if err != nil {
			return err
		}
		if index != device.Attrs().Index {
			return fmt.Errorf("the pod has no default route by %s to answer from %s", e.PodDevice, want)
		}
	}
	return nil
}

// DeletePod removes the pod's link, if it is there, and with it neighbours
// and routes. Container and PodDevice of e are enough.
func (n *Node) DeletePod(e model.PodEndpoint) error { return n.DeletePodDevice(hostEnd(e)) }

// DeletePodDevice is DeletePod by the name of the host's end.
func (n *Node) DeletePodDevice(name string) error {
	device, err := n.handle.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up %s: %w", name, err)
	}
	if device.Attrs().Group != deviceGroup {
		return fmt.Errorf("remove device %s: it was not made here", name)
	}
	// The pod's namespace may end, and take the device along, meanwhile.
	if err := n.handle.LinkDel(device); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove device %s: %w", name, err)
	}
	return nil
}

// PodDevices are the host's ends that CreatePod has made, name by index.
func (n *Node) PodDevices() (map[int]string, error) {
	all, err := dump(n.handle.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	ours := map[int]string{}
	for _, l := range all {
		if a := l.Attrs(); a.Group == deviceGroup && strings.HasPrefix(a.Name, hostEndPrefix) {
			ours[a.Index] = a.Name
		}
	}
	return ours, nil
}

// inPod calls f on a thread in the pod's namespace, with the pod's end.
func (n *Node) inPod(netns *os.File, e model.PodEndpoint, f func(*netlink.Handle, netlink.Link) error) error {
	return within(netns, func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("open netlink in the pod: %w", err)
		}
		defer h.Close()
		device, err := h.LinkByName(e.PodDevice)
		if err != nil {
			return fmt.Errorf("look up the pod's %s: %w", e.PodDevice, err)
		}
		return f(h, device)
	})
}

// hostEnd is the name of the host's end: the same for the same pod, so that
// it is found again whatever was forgotten.
func hostEnd(e model.PodEndpoint) string {
	sum := podSum(e)
	return hostEndPrefix + hex.EncodeToString(sum[:6]) // 15 characters, the longest name of a device
}

func podSum(e model.PodEndpoint) [32]byte {
	return sha256.Sum256([]byte(e.Container + "|" + e.PodDevice))
}

// macOf is an address that was set on purpose: udev gives others to devices
// whose address the kernel chose.
func macOf(sum []byte) (mac [6]byte) {
	copy(mac[:], sum)
	mac[0] = mac[0]&0xfc | 2 // of one device, made here
	return mac
}

func podAddress(a netip.Addr) *netlink.Addr {
	address := &netlink.Addr{IPNet: prefix(single(a))}
	if a.Is6() {
		address.Flags = unix.IFA_F_NODAD
	}
	return address
}

func hasAddress(have []netlink.Addr, want netip.Addr) bool {
	for _, a := range have {
		if a.IP.Equal(want.AsSlice()) {
			return true
		}
	}
	return false
}

func neighbour(device int, a netip.Addr, mac [6]byte) *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: device, Family: int(familyOf(a)), State: netlink.NUD_PERMANENT,
		IP: a.AsSlice(), HardwareAddr: mac[:]}
}

func hostRoute(device int, a netip.Addr) *netlink.Route {
	return &netlink.Route{LinkIndex: device, Family: int(familyOf(a)), Dst: prefix(single(a)), Scope: netlink.SCOPE_LINK,
		Protocol: protocolPod}
}

// podRoutes lead to the router, and by it to everywhere.
func podRoutes(device netlink.Link, router netip.Addr) []netlink.Route {
	index, f := device.Attrs().Index, int(familyOf(router))
	all := netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	if router.Is4() {
		all = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return []netlink.Route{
		{LinkIndex: index, Family: f, Dst: prefix(single(router)), Scope: netlink.SCOPE_LINK},
		{LinkIndex: index, Family: f, Dst: prefix(all), Gw: router.AsSlice()},
	}
}
