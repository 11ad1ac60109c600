package nodes

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// Neighbour is where the machine finds an address of its segment, by ARP or
// neighbour discovery, or remembers it; nil: nowhere.
func (m *Machine) Neighbour(t testing.TB, a netip.Addr) net.HardwareAddr {
	t.Helper()
	// A datagram to nobody has the machine ask who has the address.
	m.Do(t, func() error {
		c, err := net.Dial("udp", netip.AddrPortFrom(a, 9).String())
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte("x"))
		return err
	})
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		words := strings.Fields(m.Run(t, "ip", "neigh", "show", "to", a.String(), "dev", "eth0"))
		if i := slices.Index(words, "lladdr"); i >= 0 {
			mac, err := net.ParseMAC(words[i+1])
			if err != nil {
				t.Fatal(err)
			}
			return mac
		}
		if slices.Contains(words, "FAILED") {
			return nil
		}
	}
	return nil
}

// ForgetNeighbours has the machine ask anew.
func (m *Machine) ForgetNeighbours(t testing.TB) {
	t.Helper()
	m.Run(t, "ip", "neigh", "flush", "all")
}
