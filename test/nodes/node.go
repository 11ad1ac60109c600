package nodes

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Node is a machine that runs pods.
type Node struct {
	Machine
	PodCIDR4, PodCIDR6 netip.Prefix
	Ingress4, Ingress6 netip.Addr // the node's ingress address, which nobody has made it yet: .254 of the PodCIDRs
	Root               string     // the cgroup that stands for the root of the hierarchy; all of the node's is below
	BPFFS              string     // a BPF file system
	Uplink             int        // index of eth0
	Pods               []*Pod

	ground *Ground
	number int
}

// Pod is a machine behind a node's veth.
type Pod struct {
	Machine
	Node      *Node
	Index     int    // of the host's end
	Interface string // its name
	MAC       net.HardwareAddr
	HostMAC   net.HardwareAddr
}

func (g *Ground) newNode(t testing.TB, number int, cgroup string) (*Node, error) {
	name := fmt.Sprintf("n%d", number)
	root := filepath.Join(cgroup, name)
	m, err := g.newMachine(t, name, filepath.Join(root, "host"))
	if err != nil {
		return nil, err
	}
	n := &Node{
		Machine: *m, ground: g, number: number, Root: root,
		PodCIDR4: netip.MustParsePrefix(fmt.Sprintf("10.78.%d.0/24", number)),
		PodCIDR6: netip.MustParsePrefix(fmt.Sprintf("fd78:%d::/64", number)),
		Ingress4: netip.MustParseAddr(fmt.Sprintf("10.78.%d.254", number)),
		Ingress6: netip.MustParseAddr(fmt.Sprintf("fd78:%d::254", number)),
		BPFFS:    filepath.Join(g.Dir, name, "bpf"),
	}
	if err := os.MkdirAll(n.BPFFS, 0o700); err != nil {
		return nil, err
	}
	if err := unix.Mount("waggle-test", n.BPFFS, "bpf", 0, "mode=0700"); err != nil {
		return nil, fmt.Errorf("mount a BPF file system: %w", err)
	}
	if err := g.plug(&n.Machine, number); err != nil {
		return nil, err
	}
	return n, n.ns.do(func() error {
		eth0, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		n.Uplink = eth0.Attrs().Index
		return n.configure()
	})
}

// configure sets what a node of a cluster has set.
func (n *Node) configure() error {
	return sysctl(
		[2]string{"net/ipv4/ip_forward", "1"},
		[2]string{"net/ipv6/conf/all/forwarding", "1"},
		[2]string{"net/ipv4/conf/all/rp_filter", "0"},
		[2]string{"net/ipv4/conf/default/rp_filter", "0"},
		[2]string{"net/ipv4/conf/eth0/rp_filter", "0"},
		[2]string{"net/ipv4/ip_local_port_range", "32768 64999"},
		[2]string{"net/core/somaxconn", "16384"},
	)
}

// gateway4 is what the node's pods have as their default route.
func (n *Node) gateway4() netip.Addr { return n.PodCIDR4.Addr().Next() }

func (n *Node) routeTo(other *Node) error {
	return n.ns.do(func() error {
		return errors.Join(route(other.PodCIDR4, "", other.Addr4), route(other.PodCIDR6, "", other.Addr6))
	})
}

// AddPod makes a pod, with the node's next addresses.
func (n *Node) AddPod(t testing.TB, name string) *Pod {
	t.Helper()
	p, err := n.addPod(t, name)
	if err != nil {
		t.Fatalf("make pod %s on %s: %v", name, n.Name, err)
	}
	n.Pods = append(n.Pods, p)
	return p
}

func (n *Node) addPod(t testing.TB, name string) (*Pod, error) {
	m, err := n.ground.newMachine(t, name, filepath.Join(n.Root, "pods", name))
	if err != nil {
		return nil, err
	}
	last := 10 + len(n.Pods)
	m.Addr4 = netip.MustParseAddr(fmt.Sprintf("10.78.%d.%d", n.number, last))
	m.Addr6 = netip.MustParseAddr(fmt.Sprintf("fd78:%d::%d", n.number, last))
	p := &Pod{Machine: *m, Node: n, Interface: "pod-" + name}
	if err := n.ns.do(p.connect); err != nil {
		return nil, err
	}
	return p, m.ns.do(p.configure)
}

// connect makes the veth, in the node's namespace.
func (p *Pod) connect() error {
	veth := netlink.NewVeth(netlink.LinkAttrs{Name: p.Interface})
	veth.PeerName, veth.PeerNamespace = "eth0", netlink.NsFd(p.ns.fd())
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("add veth %s: %w", p.Interface, err)
	}
	if err := setUp(p.Interface, netip.MustParsePrefix("fe80::1/64")); err != nil {
		return err
	}
	made, err := netlink.LinkByName(p.Interface)
	if err != nil {
		return err
	}
	p.Index, p.HostMAC = made.Attrs().Index, made.Attrs().HardwareAddr
	return errors.Join(route(host(p.Addr4), p.Interface, netip.Addr{}), route(host(p.Addr6), p.Interface, netip.Addr{}))
}

// configure makes the pod's end, in the pod's namespace.
func (p *Pod) configure() error {
	if err := setUp("eth0", host(p.Addr4), host(p.Addr6)); err != nil {
		return err
	}
	eth0, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	p.MAC = eth0.Attrs().HardwareAddr
	gateway := p.Node.gateway4()
	known := netlink.Neigh{LinkIndex: eth0.Attrs().Index, IP: gateway.AsSlice(), HardwareAddr: p.HostMAC, State: netlink.NUD_PERMANENT}
	if err := netlink.NeighSet(&known); err != nil {
		return fmt.Errorf("add the neighbour %s: %w", gateway, err)
	}
	return errors.Join(
		sysctl([2]string{"net/ipv4/ip_local_port_range", "32768 60999"}, [2]string{"net/core/somaxconn", "16384"}),
		route(host(gateway), "eth0", netip.Addr{}),
		route(netip.MustParsePrefix("0.0.0.0/0"), "eth0", gateway),
		route(netip.MustParsePrefix("::/0"), "eth0", netip.MustParseAddr("fe80::1")),
	)
}
