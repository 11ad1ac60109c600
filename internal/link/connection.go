package link

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Connection is a TCP socket of the node's stack that has a peer.
type Connection struct {
	Local, Remote netip.AddrPort // IPv4 on IPv6 sockets too is IPv4
	Mark          uint32         // SO_MARK; accepted sockets have their listener's

	id netlink.SocketID
}

// connections lists those of a family, without those that only wait for their
// time to pass.
func connections(family uint8) ([]Connection, error) {
	request := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP)
	const states = 1<<unix.BPF_TCP_NEW_SYN_RECV - 1 - 1<<unix.BPF_TCP_LISTEN - 1<<unix.BPF_TCP_TIME_WAIT
	request.AddData(diagRequest{family: family, protocol: unix.IPPROTO_TCP, states: states})
	var all []Connection
	var wrong error
	err := request.ExecuteIter(unix.NETLINK_INET_DIAG, nl.SOCK_DIAG_BY_FAMILY, func(m []byte) bool {
		c, err := connectionOf(m)
		all, wrong = append(all, c), err
		return err == nil
	})
	if wrong != nil {
		return nil, wrong
	}
	return all, err
}

// connectionOf reads a struct inet_diag_msg and its attributes, see sock_diag(7).
func connectionOf(m []byte) (c Connection, err error) {
	const size, addressBytes = 72, 16
	if len(m) < size {
		return c, fmt.Errorf("a socket of %d bytes", len(m))
	}
	length := addressBytes
	if m[0] == unix.AF_INET {
		length = net.IPv4len
	}
	c.id = netlink.SocketID{
		SourcePort: binary.BigEndian.Uint16(m[4:]), DestinationPort: binary.BigEndian.Uint16(m[6:]),
		Source: net.IP(m[8:][:length]), Destination: net.IP(m[24:][:length]),
		Interface: binary.NativeEndian.Uint32(m[40:]),
		Cookie:    [2]uint32{binary.NativeEndian.Uint32(m[44:]), binary.NativeEndian.Uint32(m[48:])},
	}
	c.Local, c.Remote = end(c.id.Source, c.id.SourcePort), end(c.id.Destination, c.id.DestinationPort)
	attributes, err := nl.ParseRouteAttr(m[size:])
	for _, a := range attributes {
		if a.Attr.Type == netlink.INET_DIAG_MARK && len(a.Value) >= 4 {
			c.Mark = binary.NativeEndian.Uint32(a.Value)
		}
	}
	return c, err
}

func end(ip net.IP, port uint16) netip.AddrPort {
	a, _ := addrOf(ip)
	return netip.AddrPortFrom(a, port)
}

// diagRequest is struct inet_diag_req_v2: for sockets in some states (a bit
// each), or for one by its addresses and the kernel's cookie, and not by mistake
// its successor.
type diagRequest struct {
	family, protocol uint8
	states           uint32
	id               netlink.SocketID
}

func (diagRequest) Len() int { return 56 }

func (r diagRequest) Serialize() []byte {
	b := make([]byte, r.Len())
	b[0], b[1] = r.family, r.protocol
	binary.NativeEndian.PutUint32(b[4:], r.states)
	binary.BigEndian.PutUint16(b[8:], r.id.SourcePort)
	binary.BigEndian.PutUint16(b[10:], r.id.DestinationPort)
	for at, ip := range map[int]net.IP{12: r.id.Source, 28: r.id.Destination} {
		if r.family == unix.AF_INET {
			ip = ip.To4()
		}
		copy(b[at:], ip)
	}
	binary.NativeEndian.PutUint32(b[44:], r.id.Interface)
	binary.NativeEndian.PutUint32(b[48:], r.id.Cookie[0])
	binary.NativeEndian.PutUint32(b[52:], r.id.Cookie[1])
	return b
}
