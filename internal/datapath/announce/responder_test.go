package announce_test

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/internal/datapath/announce"
	"github.com/waggle-mesh/waggle/internal/link"
	"github.com/waggle-mesh/waggle/test/nodes"
)

func TestMain(m *testing.M) { nodes.Main(m.Run) }

// announcer is a node that can announce.
type announcer struct {
	t    *testing.T
	node *nodes.Node
	path *datapath.Node
	link *link.Node
	*announce.Responder
	mac [6]byte
}

func newAnnouncer(t *testing.T, n *nodes.Node) *announcer {
	a := &announcer{t: t, node: n}
	ns, err := os.Open(n.Namespace())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	a.link, err = link.Open(link.Options{Uplink: "eth0", Routers: []netip.Addr{netip.MustParseAddr("10.78.9.1")}, Namespace: ns})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.link.Close)
	if a.mac, err = a.link.MAC(); err != nil {
		t.Fatal(err)
	}
	a.open()
	return a
}

// open is what an agent does when it starts.
func (a *announcer) open() {
	a.node.Do(a.t, func() (err error) {
		a.path, err = datapath.Open(datapath.Options{BPFFS: a.node.BPFFS, Cgroup: a.node.Root, Uplink: "eth0", IPv4: a.node.Addr4, IPv6: a.node.Addr6})
		if err != nil {
			return err
		}
		if err := a.path.Commit(); err != nil {
			return err
		}
		if a.Responder, err = announce.Open(a.path, a.link.Uplink().Index); err != nil {
			return err
		}
		return a.Start()
	})
}

// close is the agent's end.
func (a *announcer) close() {
	a.Close()
	a.path.Close()
}

func (a *announcer) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *announcer) claim(addresses ...netip.Addr) { a.must(a.link.Claim(a.mac, addresses...)) }

func (a *announcer) has(want ...netip.Addr) {
	a.t.Helper()
	var got []netip.Addr
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var err error
		got, err = a.Addresses()
		a.must(err)
		if slices.Equal(got, want) {
			return
		}
	}
	a.t.Errorf("%s announces %v, want %v", a.node.Name, got, want)
}

var (
	vip4 = netip.MustParseAddr("192.168.78.200")
	vip6 = netip.MustParseAddr("fd78::200")
)

func (a *announcer) foundBy(m *nodes.Machine, addresses ...netip.Addr) {
	a.t.Helper()
	for _, ip := range addresses {
		if got := m.Neighbour(a.t, ip); !slices.Equal(got, a.mac[:]) {
			a.t.Errorf("%s finds %s at %s, not at %s's %s", m.Name, ip, got, a.node.Name, net.HardwareAddr(a.mac[:]))
		}
	}
}

// TestAnswers: neighbours find an address where it is announced, and nowhere
// when it is not; the answers outlast the agent.
func TestAnswers(t *testing.T) {
	g := nodes.New(t)
	n1 := newAnnouncer(t, g.Nodes[0])
	for _, a := range []netip.Addr{vip4, vip6} {
		if got := g.Client.Neighbour(t, a); got != nil {
			t.Errorf("%s is at %s before anybody announces it", a, got)
		}
		n1.must(n1.Set(a, n1.mac, time.Now().Add(time.Hour)))
	}
	g.Client.ForgetNeighbours(t)
	n1.foundBy(g.Client, vip4, vip6)
	n1.has(vip4, vip6)

	n1.close()
	g.Client.ForgetNeighbours(t)
	n1.foundBy(g.Client, vip4, vip6)
	n1.open()
	n1.has(vip4, vip6)
	n1.must(n1.Remove(vip4))
	n1.must(n1.Remove(vip4))
	n1.must(n1.Remove(vip6))
	g.Client.ForgetNeighbours(t)
	for _, a := range []netip.Addr{vip4, vip6} {
		if got := g.Client.Neighbour(t, a); got != nil {
			t.Errorf("%s is still at %s", a, got)
		}
	}
	n1.close()
}

// TestTakeOver: who knows an address at one node finds it at the next at once,
// and the first forgets it, unless it is still his.
func TestTakeOver(t *testing.T) {
	g := nodes.New(t)
	n1, n2 := newAnnouncer(t, g.Nodes[0]), newAnnouncer(t, g.Nodes[1])
	for _, a := range []netip.Addr{vip4, vip6} {
		n1.must(n1.Set(a, n1.mac, time.Now().Add(time.Hour)))
	}
	n1.foundBy(g.Client, vip4, vip6)

	n2.claim(vip4, vip6) // without a right to
	n1.claim(vip4, vip6) // which n2 hears, and n1 before has heard n2
	n1.has(vip4, vip6)
	n1.foundBy(g.Client, vip4, vip6)

	for _, a := range []netip.Addr{vip4, vip6} { // the Lease ends
		n1.must(n1.Set(a, n1.mac, time.Time{}))
	}
	g.Client.ForgetNeighbours(t)
	n1.foundBy(g.Client, vip4, vip6) // as long as nobody else has it
	for _, a := range []netip.Addr{vip4, vip6} {
		n2.must(n2.Set(a, n2.mac, time.Now().Add(time.Hour)))
	}
	n2.claim(vip4, vip6)
	n1.has()
	n2.foundBy(g.Client, vip4, vip6)
	g.Client.ForgetNeighbours(t)
	n2.foundBy(g.Client, vip4, vip6)
	n1.close()
	n2.close()
}

// TestStop: nothing is left at the uplink.
func TestStop(t *testing.T) {
	g := nodes.New(t)
	n1 := newAnnouncer(t, g.Nodes[0])
	n1.must(n1.Set(vip4, n1.mac, time.Now().Add(time.Hour)))
	n1.foundBy(g.Client, vip4)
	if had, err := announce.Stop(n1.node.BPFFS); err != nil || !slices.Equal(had, []netip.Addr{vip4}) {
		t.Errorf("had announced %v, %v", had, err)
	}
	if had, err := announce.Stop(n1.node.BPFFS); err != nil || had != nil {
		t.Errorf("once more: had announced %v, %v", had, err)
	}
	g.Client.ForgetNeighbours(t)
	if got := g.Client.Neighbour(t, vip4); got != nil {
		t.Errorf("still at %s", got)
	}
	n1.close()
}

// TestMembership: the device receives what is sent to the group of an address,
// and the kernel says so to switches.
func TestMembership(t *testing.T) {
	g := nodes.New(t)
	n1 := newAnnouncer(t, g.Nodes[0])
	m := n1.link.Membership()
	group := link.Solicited(vip6)
	shown := func() string { return n1.node.Run(t, "ip", "maddr", "show", "dev", "eth0") }
	for range 2 {
		n1.must(m.Set(group, true))
	}
	if out := shown(); !strings.Contains(out, "33:33:ff:00:02:00") || !strings.Contains(out, "ff02::1:ff00:200") {
		t.Errorf("joined, and eth0 has\n%s", out)
	}
	n1.must(m.Close())
	if out := shown(); !strings.Contains(out, "33:33:ff:00:02:00") {
		t.Errorf("the agent has ended, and eth0 has\n%s", out)
	}
	m = n1.link.Membership()
	for range 2 {
		n1.must(m.Set(group, false))
	}
	if out := shown(); strings.Contains(out, "33:33:ff:00:02:00") {
		t.Errorf("left, and eth0 has\n%s", out)
	}
	n1.must(m.Close())
	n1.close()
}
