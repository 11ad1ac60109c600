package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// MAC is the uplink's address; an error where it has none of Ethernet's kind.
func (n *Node) MAC() (mac [6]byte, err error) {
	device, err := n.handle.LinkByIndex(n.uplink.Index)
	if err != nil {
		return mac, fmt.Errorf("look up uplink %s: %w", n.uplink.Name, err)
	}
	if len(device.Attrs().HardwareAddr) != len(mac) {
		return mac, fmt.Errorf("uplink %s is no Ethernet device: it has no neighbours to announce to", n.uplink.Name)
	}
	copy(mac[:], device.Attrs().HardwareAddr)
	return mac, nil
}

// Claim tells all neighbours of the uplink that addresses are at its MAC
// address now, whatever they knew before.
func (n *Node) Claim(mac [6]byte, addresses ...netip.Addr) error {
	return within(n.options.Namespace, func() error {
		socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) // which receives nothing
		if err != nil {
			return fmt.Errorf("open a packet socket: %w", err)
		}
		defer unix.Close(socket)
		var errs []error
		for _, a := range addresses {
			for _, frame := range claims(mac, a) {
				if err := unix.Sendto(socket, frame, 0, &unix.SockaddrLinklayer{Ifindex: n.uplink.Index}); err != nil {
					errs = append(errs, fmt.Errorf("claim %s at %s: %w", a, n.uplink.Name, err))
				}
			}
		}
		return errors.Join(errs...)
	})
}

// claims are the frames that claim an address: ARP announcements (RFC 5227
// §2.3) as a request and, for those who heed nothing else, as a reply; or an
// unsolicited neighbour advertisement (RFC 4861 §7.2.6).
func claims(mac [6]byte, a netip.Addr) [][]byte {
	if a.Is6() {
		return [][]byte{advertisement(mac, a)}
	}
	var frames [][]byte
	for _, operation := range []byte{1, 2} {
		frame := ethernet([6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac, unix.ETH_P_ARP)
		frame = append(frame, 0, 1, 8, 0, 6, 4, 0, operation) // Ethernet, IPv4, and the sizes of their addresses
		frame = append(append(frame, mac[:]...), a.AsSlice()...)
		frames = append(frames, append(append(frame, mac[:]...), a.AsSlice()...))
	}
	return frames
}

func ethernet(to, from [6]byte, protocol uint16) []byte {
	return binary.BigEndian.AppendUint16(append(append([]byte{}, to[:]...), from[:]...), protocol)
}

// advertisement is an unsolicited one, to all nodes.
func advertisement(mac [6]byte, a netip.Addr) []byte {
	all := netip.MustParseAddr("ff02::1").As16()
	own := a.As16()
	body := []byte{136, 0, 0, 0, 0x20, 0, 0, 0} // override
	body = append(append(append(body, own[:]...), 2, 1), mac[:]...)
	summed := append(append([]byte{}, own[:]...), all[:]...)
	summed = append(append(summed, 0, 0, 0, byte(len(body)), 0, 0, 0, unix.IPPROTO_ICMPV6), body...)
	binary.BigEndian.PutUint16(body[2:], checksum(summed))
	frame := ethernet([6]byte{0x33, 0x33, 0, 0, 0, 1}, mac, unix.ETH_P_IPV6)
	frame = append(frame, 0x60, 0, 0, 0, 0, byte(len(body)), unix.IPPROTO_ICMPV6, 255)
	return append(append(append(frame, own[:]...), all[:]...), body...)
}

// checksum is the Internet's (RFC 1071), of an even number of bytes.
func checksum(data []byte) uint16 {
	var sum uint32
	for i := 0; i < len(data); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(data[i:]))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// Solicited is the multicast group that solicitations of an IPv6 address go to
// (RFC 4291 §2.7.1).
func Solicited(a netip.Addr) netip.Addr {
	group, of := netip.MustParseAddr("ff02::1:ff00:0").As16(), a.As16()
	copy(group[13:], of[13:])
	return netip.AddrFrom16(group)
}

// Membership has the uplink receive what is sent to multicast groups. That the
// device does so outlasts the process; what switches are told (RFC 2710) lasts
// until Close.
type Membership struct {
	node   *Node
	socket int // 0: none yet
}

// Membership is one of no group yet.
func (n *Node) Membership() *Membership { return &Membership{node: n} }

// Set makes a group part of the Membership, or not any more. It may be
// repeated.
func (m *Membership) Set(group netip.Addr, on bool) error {
	if err := m.node.receive(group, on); err != nil {
		return err
	}
	if m.socket == 0 {
		err := within(m.node.options.Namespace, func() (err error) {
			m.socket, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			return err
		})
		if err != nil {
			return fmt.Errorf("open an IPv6 socket: %w", err)
		}
	}
	request, name, fine := unix.IPV6_JOIN_GROUP, "join", unix.EADDRINUSE
	if !on {
		request, name, fine = unix.IPV6_LEAVE_GROUP, "leave", unix.EADDRNOTAVAIL
	}
	err := unix.SetsockoptIPv6Mreq(m.socket, unix.IPPROTO_IPV6, request, &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(m.node.uplink.Index)})
	if err != nil && !errors.Is(err, fine) {
		return fmt.Errorf("%s group %s at %s: %w", name, group, m.node.uplink.Name, err)
	}
	return nil
}

// receive has the device receive what is sent to a group, or not any more.
func (n *Node) receive(group netip.Addr, on bool) error {
	request := uintptr(unix.SIOCADDMULTI)
	if !on {
		request = unix.SIOCDELMULTI
	}
	return within(n.options.Namespace, func() error { return multicast(n.uplink.Name, group, request) })
}

// multicast changes a device's filter.
func multicast(device string, group netip.Addr, request uintptr) error {
	ip := group.As16()
	var r struct { // struct ifreq
		name   [unix.IFNAMSIZ]byte
		family uint16
		mac    [6]byte
		_      [16]byte
	}
	copy(r.name[:unix.IFNAMSIZ-1], device)
	r.family, r.mac = unix.AF_UNSPEC, [6]byte{0x33, 0x33, ip[12], ip[13], ip[14], ip[15]}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket: %w", err)
	}
	defer unix.Close(socket)
	_, _, number := unix.Syscall(unix.SYS_IOCTL, uintptr(socket), request, uintptr(unsafe.Pointer(&r)))
	if number != 0 && number != unix.ENOENT && number != unix.EINVAL { // it does not, or has no filter
		return fmt.Errorf("have %s receive %s: %w", device, net.HardwareAddr(r.mac[:]), number)
	}
	return nil
}

// RemoveMemberships has no device receive any more what it does for the sake of
// announced addresses.
func RemoveMemberships(announced []netip.Addr) error {
	devices, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("list devices: %w", err)
	}
	var errs []error
	for _, a := range announced {
		for _, d := range devices {
			if a.Is6() && len(d.HardwareAddr) == 6 {
				errs = append(errs, multicast(d.Name, Solicited(a), unix.SIOCDELMULTI))
			}
		}
	}
	return errors.Join(errs...)
}

// Close ends what switches were told.
func (m *Membership) Close() error {
	if m.socket == 0 {
		return nil
	}
	return unix.Close(m.socket)
}
