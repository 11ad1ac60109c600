package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// DestroyConnections ends the TCP connections of the node's stack that match:
// its processes' and the proxy's, both legs, but no listener and no pod's own.
// The other side gets a RST, the process an error. It gives their number. What
// ends by itself meanwhile is no error.
func (n *Node) DestroyConnections(match func(local, remote netip.AddrPort) bool) (int, error) {
	destroyed := 0
	err := within(n.options.Namespace, func() error {
		var errs []error
		for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
			sockets, err := dump(func() ([]*netlink.Socket, error) { return netlink.SocketDiagTCP(family) })
			if err != nil {
				return fmt.Errorf("list TCP sockets: %w", err)
			}
			for _, s := range sockets {
				if s.State == unix.BPF_TCP_LISTEN || s.State == unix.BPF_TCP_TIME_WAIT || !match(ends(s)) {
					continue
				}
				err := destroy(family, s.ID)
				if err == nil {
					destroyed++
				} else if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ESTALE) {
					local, remote := ends(s)
					errs = append(errs, fmt.Errorf("destroy the connection %s to %s: %w", local, remote, err))
				}
			}
		}
		return errors.Join(errs...)
	})
	return destroyed, err
}

func ends(s *netlink.Socket) (local, remote netip.AddrPort) {
	from, _ := netip.AddrFromSlice(s.ID.Source)
	to, _ := netip.AddrFromSlice(s.ID.Destination)
	return netip.AddrPortFrom(from.Unmap(), s.ID.SourcePort), netip.AddrPortFrom(to.Unmap(), s.ID.DestinationPort)
}

// destroy sends SOCK_DESTROY, see sock_diag(7).
func destroy(family uint8, id netlink.SocketID) error {
	request := nl.NewNetlinkRequest(nl.SOCK_DESTROY, unix.NLM_F_ACK)
	request.AddData(diagRequest{family: family, id: id})
	_, err := request.Execute(unix.NETLINK_INET_DIAG, 0)
	return err
}

// diagRequest is struct inet_diag_req_v2 for one TCP socket, by its addresses
// and the kernel's cookie: not by mistake its successor.
type diagRequest struct {
	family uint8
	id     netlink.SocketID
}

func (diagRequest) Len() int { return 56 }

func (r diagRequest) Serialize() []byte {
	b := make([]byte, r.Len())
	b[0], b[1] = r.family, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(b[4:], ^uint32(0)) // any state
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
