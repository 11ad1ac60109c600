package link

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// DestroyConnections ends the TCP connections of the node's stack that match:
// its processes' and the proxy's, both legs, but no listener and no pod's own.
// The other side gets a RST, the process an error. It gives their number. What
// ends by itself meanwhile is no error.
func (n *Node) DestroyConnections(match func(Connection) bool) (int, error) {
	destroyed := 0
	err := within(n.options.Namespace, func() error {
		var errs []error
		for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
			all, err := dump(func() ([]Connection, error) { return connections(family) })
			if err != nil {
				return fmt.Errorf("list TCP sockets: %w", err)
			}
			for _, c := range all {
				if !match(c) {
					continue
				}
				done, err := destroy(family, unix.IPPROTO_TCP, c.id)
				destroyed += done
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	})
	return destroyed, err
}

// DestroyDatagrams ends UDP sockets by their cookies, which are given by the
// inode of their network namespace: the process gets ECONNABORTED, and the
// socket is not connected any more. It gives their number. Namespaces that no
// process lives in are left out.
func DestroyDatagrams(cookies map[uint64][]uint64) (int, error) {
	namespaces, err := namespacesOf(cookies)
	destroyed, errs := 0, []error{err}
	for inode, netns := range namespaces {
		errs = append(errs, within(netns, func() error {
			n, err := destroyDatagrams(cookies[inode])
			destroyed += n
			return err
		}))
		netns.Close()
	}
	return destroyed, errors.Join(errs...)
}

func destroyDatagrams(cookies []uint64) (destroyed int, err error) {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		sockets, listErr := dump(func() ([]*netlink.Socket, error) { return netlink.SocketDiagUDP(family) })
		if listErr != nil {
			return destroyed, errors.Join(err, fmt.Errorf("list UDP sockets: %w", listErr))
		}
		for _, s := range sockets {
			if !slices.Contains(cookies, uint64(s.ID.Cookie[1])<<32|uint64(s.ID.Cookie[0])) {
				continue
			}
			done, destroyErr := destroy(family, unix.IPPROTO_UDP, s.ID)
			destroyed += done
			err = errors.Join(err, destroyErr)
		}
	}
	return destroyed, err
}

// namespacesOf finds network namespaces by their inodes, the keys, among those
// that processes live in.
func namespacesOf[V any](inodes map[uint64]V) (map[uint64]*os.File, error) {
	links, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	found := map[uint64]*os.File{}
	for _, path := range links {
		var inode uint64
		name, err := os.Readlink(path)
		if err != nil {
			continue // the process has ended
		}
		if _, err := fmt.Sscanf(name, "net:[%d]", &inode); err != nil || found[inode] != nil {
			continue
		}
		if _, wanted := inodes[inode]; !wanted {
			continue
		}
		netns, err := os.Open(path)
		if err != nil {
			continue
		}
		if now, err := inodeOf(netns); err != nil || now != inode { // another process got the number
			netns.Close()
			continue
		}
		found[inode] = netns
	}
	return found, nil
}

func inodeOf(netns *os.File) (uint64, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(netns.Fd()), &stat); err != nil {
		return 0, fmt.Errorf("look at %s: %w", netns.Name(), err)
	}
	return stat.Ino, nil
}

// canDestroy tells what the kernel lacks to end sockets: without that, what is
// not allowed any more would go on through Envoy, and UDP sockets would stay
// with backends that have left.
func canDestroy() error {
	_, err := destroy(unix.AF_INET, unix.IPPROTO_TCP, netlink.SocketID{}) // which nobody has
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("the kernel cannot end sockets (CONFIG_INET_DIAG_DESTROY): %w", err)
	}
	return nil // what else may be wrong shows when it is used
}

// destroy sends SOCK_DESTROY, see sock_diag(7), and gives the number of sockets
// that it ended. One that ends by itself meanwhile is no error.
func destroy(family, protocol uint8, id netlink.SocketID) (int, error) {
	err := sendDestroy(diagRequest{family: family, protocol: protocol, states: ^uint32(0), id: id})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESTALE) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("destroy the connection %s to %s: %w", end(id.Source, id.SourcePort), end(id.Destination, id.DestinationPort), err)
	}
	return 1, nil
}

// sendDestroy asks the kernel, which a test may be in the place of.
var sendDestroy = func(r diagRequest) error {
	request := nl.NewNetlinkRequest(nl.SOCK_DESTROY, unix.NLM_F_ACK)
	request.AddData(r)
	_, err := request.Execute(unix.NETLINK_INET_DIAG, 0)
	return err
}
