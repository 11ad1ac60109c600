package link

import (
	"io"
	"net"
	"slices"
	"strings"
	"testing"
)

// TestAddressesAreNotListed in IPv4, where Envoy takes the first that it finds for
// the node's: whether they were made here or by a version that added them to lo,
// whose connections go on. At no moment are they nobody's.
func TestAddressesAreNotListed(t *testing.T) {
	g := newGround(t, true, true)
	isUnlisted := func() {
		t.Helper()
		err := within(g.hosts[0], func() error {
			all, err := net.InterfaceAddrs()
			for _, a := range all {
				if strings.HasPrefix(a.String(), "10.9.") {
					t.Errorf("a device has address %s", a)
				}
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	isUnlisted()

	ip(t, g.hosts[0], `route flush table local proto 87
addr add 10.9.1.1/32 scope host label lo:waggle dev lo
addr add 10.9.1.2/32 scope host label lo:waggle dev lo
addr add 10.9.1.3/32 scope host label lo:waggle dev lo`)
	ingress, pod := connected(t, g)
	told := eventsOf(t, g.hosts[0], g.nodes[0].Prepare)
	isUnlisted()
	for _, address := range []string{"10.9.1.1", "10.9.1.2"} {
		made := slices.IndexFunc(told, func(l string) bool {
			return !strings.Contains(l, "Deleted") && strings.Contains(l, "local "+address+" ") && strings.Contains(l, "proto 87")
		})
		gone := slices.IndexFunc(told, func(l string) bool { return strings.Contains(l, "Deleted") && strings.Contains(l, address) })
		if made < 0 || gone < made {
			t.Errorf("%s is made in line %d and removed in line %d of:\n%s", address, made, gone, strings.Join(told, "\n"))
		}
	}
	if text := ip(t, g.hosts[0], "route show table local"); strings.Contains(text, "10.9.1.3") {
		t.Errorf("an address that is no longer wanted stays:\n%s", text)
	}
	for _, way := range [][2]net.Conn{{ingress, pod}, {pod, ingress}} {
		got := make([]byte, 4)
		if _, err := way[0].Write([]byte("more")); err != nil {
			t.Error(err)
		} else if _, err := io.ReadFull(way[1], got); err != nil {
			t.Error(err)
		}
	}
}

// connected is a connection of node 0's ingress address to its pod, both ends.
func connected(t *testing.T, g ground) (ingress, pod net.Conn) {
	t.Helper()
	var listener net.Listener
	err := within(g.pods[0], func() (err error) {
		listener, err = net.Listen("tcp4", ":0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	err = within(g.hosts[0], func() (err error) {
		to := &net.TCPAddr{IP: g.ends[0].Addresses[0].AsSlice(), Port: listener.Addr().(*net.TCPAddr).Port}
		ingress, err = net.DialTCP("tcp4", &net.TCPAddr{IP: g.nodes[0].options.Ingress[0].AsSlice()}, to)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if pod, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ingress.Close(); pod.Close() })
	return ingress, pod
}
