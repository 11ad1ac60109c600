package link

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestCannotDestroy: a kernel that cannot end sockets is told of at the start.
func TestCannotDestroy(t *testing.T) {
	before := sendDestroy
	t.Cleanup(func() { sendDestroy = before })
	for errno, refused := range map[unix.Errno]bool{unix.EOPNOTSUPP: true, unix.ENOENT: false} {
		sendDestroy = func(diagRequest) error { return errno }
		err := canDestroy()
		if errors.Is(err, errno) != refused || refused && !strings.Contains(err.Error(), "CONFIG_INET_DIAG_DESTROY") {
			t.Errorf("where it answers %v: %v", errno, err)
		}
	}
	sendDestroy = before
	if err := canDestroy(); err != nil {
		t.Errorf("this kernel: %v", err)
	}
	sendDestroy = func(diagRequest) error { return unix.EOPNOTSUPP }
	if n, err := Open(Options{Routers: []netip.Addr{netip.MustParseAddr("10.9.1.1")}}); err == nil {
		n.Close()
		t.Error("a node whose kernel lacks it is opened")
	} else if !errors.Is(err, unix.EOPNOTSUPP) {
		t.Error(err)
	}
}

// TestDestroyConnections: those that match and no others, with the mark of the
// listener that took them, in each family and in IPv4 on an IPv6 socket.
func TestDestroyConnections(t *testing.T) {
	host := newNamespace(t)
	ip(t, host, "link set lo up")
	n := &Node{options: Options{Namespace: host}}
	for _, way := range []struct{ network, to string }{{"tcp4", "127.0.0.1"}, {"tcp6", "::1"}, {"tcp", "127.0.0.1"}} {
		t.Run(way.network, func(t *testing.T) {
			_, kept := accepted(t, host, way.network, way.to, 0)
			client, taken := accepted(t, host, way.network, way.to, 0x800)
			var marks []uint32
			ended, err := n.DestroyConnections(func(c Connection) bool {
				if end := taken.LocalAddr().(*net.TCPAddr).AddrPort(); c.Local.Port() == end.Port() {
					want := netip.AddrPortFrom(netip.MustParseAddr(way.to), end.Port())
					if peer := taken.RemoteAddr().(*net.TCPAddr).AddrPort(); c.Local != want || c.Remote != netip.AddrPortFrom(want.Addr(), peer.Port()) {
						t.Errorf("%s to %s, want %s to %s", c.Local, c.Remote, want, peer)
					}
				}
				marks = append(marks, c.Mark)
				return c.Mark == 0x800
			})
			slices.Sort(marks)
			if err != nil || ended != 1 || !slices.Equal(marks, []uint32{0, 0, 0, 0x800}) {
				t.Errorf("%d connections ended, error %v; the node's have marks %#x", ended, err, marks)
			}
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
				t.Errorf("the other side reads: %v", err)
			}
			if _, err := kept.Write([]byte("more")); err != nil {
				t.Errorf("another connection: %v", err)
			}
		})
	}
}

// accepted is a connection, both ends, to a listener with a mark.
func accepted(t *testing.T, host *os.File, network, to string, mark int) (client, server net.Conn) {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		return errors.Join(c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, mark) }), err)
	}}
	err := within(host, func() error {
		listener, err := config.Listen(t.Context(), network, ":0")
		if err != nil {
			return err
		}
		defer listener.Close()
		client, err = net.Dial("tcp", net.JoinHostPort(to, strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)))
		if err != nil {
			return err
		}
		server, err = listener.Accept()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	if err := client.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return client, server
}
