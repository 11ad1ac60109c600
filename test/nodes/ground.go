package nodes

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Ground is one set of nodes.
type Ground struct {
	Nodes  [2]*Node
	Client *Machine // outside of the cluster, on the nodes' segment
	Dir    string   // for sockets and files; removed at the end

	prefix string // of its namespaces' names
	bridge *namespace
	ports  int // of the bridge
}

var grounds atomic.Int32 // made by this process

// New makes a ground that lives as long as the test.
func New(t testing.TB) *Ground {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("the test ground makes network namespaces and needs root")
	}
	if err := clearLeftovers(); err != nil {
		t.Fatal(err)
	}
	g := &Ground{prefix: fmt.Sprintf("waggle%d-%d", os.Getpid(), grounds.Add(1))}
	g.Dir = filepath.Join(groundsDir, g.prefix)
	t.Cleanup(func() {
		if err := clearGround(g.prefix); err != nil {
			t.Error(err)
		}
	})
	if err := g.build(t); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *Ground) build(t testing.TB) error {
	if err := os.MkdirAll(g.Dir, 0o700); err != nil {
		return err
	}
	cgroup, err := cgroup2()
	if err != nil {
		return err
	}
	cgroup = filepath.Join(cgroup, g.prefix)
	if g.bridge, err = newNamespace(g.prefix + "-net"); err != nil {
		return err
	}
	err = g.bridge.do(func() error {
		br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
		return errors.Join(netlink.LinkAdd(br), netlink.LinkSetUp(br), noFilter())
	})
	if err != nil {
		return fmt.Errorf("make the bridge: %w", err)
	}
	for i := range g.Nodes {
		if g.Nodes[i], err = g.newNode(t, i+1, cgroup); err != nil {
			return fmt.Errorf("make node n%d: %w", i+1, err)
		}
	}
	for i, n := range g.Nodes {
		if err := n.routeTo(g.Nodes[1-i]); err != nil {
			return err
		}
	}
	g.Client, err = g.newMachine(t, "client", filepath.Join(cgroup, "client"))
	if err != nil {
		return fmt.Errorf("make the client: %w", err)
	}
	return g.plug(g.Client, 9)
}

// noFilter keeps the firewall away from the bridge, which is but a wire. It is
// there where the kernel has it built in.
func noFilter() error {
	for _, name := range []string{"net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"} {
		if err := sysctl([2]string{name, "0"}); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// plug gives a machine an uplink "eth0" on the bridge.
func (g *Ground) plug(m *Machine, host int) error {
	g.ports++
	port := fmt.Sprintf("port%d", g.ports)
	err := g.bridge.do(func() error {
		br, err := netlink.LinkByName("br0")
		if err != nil {
			return err
		}
		veth := netlink.NewVeth(netlink.LinkAttrs{Name: port, MasterIndex: br.Attrs().Index})
		veth.PeerName, veth.PeerNamespace = "eth0", netlink.NsFd(m.ns.fd())
		return errors.Join(netlink.LinkAdd(veth), netlink.LinkSetUp(veth))
	})
	if err != nil {
		return fmt.Errorf("plug %s into the bridge: %w", m.Name, err)
	}
	m.Addr4 = netip.AddrFrom4([4]byte{192, 168, 78, byte(host)})
	m.Addr6 = netip.MustParseAddr(fmt.Sprintf("fd78::%d", host))
	return m.ns.do(func() error {
		return setUp("eth0", netip.PrefixFrom(m.Addr4, 24), netip.PrefixFrom(m.Addr6, 64))
	})
}

// setUp brings a device of the current namespace up, with addresses.
func setUp(device string, addresses ...netip.Prefix) error {
	l, err := netlink.LinkByName(device)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return fmt.Errorf("set %s up: %w", device, err)
	}
	for _, a := range addresses {
		addr := &netlink.Addr{IPNet: ipNet(a)}
		if a.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(l, addr); err != nil {
			return fmt.Errorf("add %s to %s: %w", a, device, err)
		}
	}
	return nil
}
