package world

import (
	"net"
	"net/netip"
	"os"
	"testing"
)

// TestConnections: those that this process has made to an address count; those
// that it has accepted, that have ended, or that go elsewhere, do not.
func TestConnections(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		to := l.Addr().(*net.TCPAddr).AddrPort()
		want := func(to netip.AddrPort, n int) {
			t.Helper()
			if got, err := Connections(os.Getpid(), to); err != nil || got != n {
				t.Errorf("it has %d connections to %s (%v), want %d", got, to, err, n)
			}
		}
		var made []net.Conn
		for range 3 {
			c, err := net.Dial("tcp", to.String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			made = append(made, c)
		}
		want(to, 3)
		made[0].Close()
		want(to, 2)
		want(netip.AddrPortFrom(to.Addr(), to.Port()-1), 0)
		want(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.9"), to.Port()), 0)
	}
	if _, err := Connections(-1, netip.AddrPort{}); err == nil {
		t.Error("a process that is not there has connections")
	}
}
