package world

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/internal/link"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/test/nodes"
)

// Node is a node that runs Waggle's data path, wired as the agent does.
type Node struct {
	*nodes.Node
	Path *datapath.Node
	Link *link.Node
	t    testing.TB
}

// AddWaggle lets the nodes run Waggle.
func (w *World) AddWaggle(t testing.TB) {
	for i, n := range w.Nodes {
		node := &Node{Node: n, t: t}
		node.openLink()
		node.openPath()
		w.Waggle[i] = node
		for _, other := range w.Nodes {
			node.knows(other)
		}
		for id, p := range w.pods {
			node.knowsPod(p, model.Identity(id))
		}
		n.Do(t, node.Path.Commit)
	}
}

// Must ends the benchmark if the outputs' answer is an error.
func (n *Node) Must(_ struct{}, err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatalf("%s: %v", n.Name, err)
	}
}

func (n *Node) openLink() {
	ns, err := os.Open(n.Namespace())
	n.Must(struct{}{}, err)
	n.t.Cleanup(func() { ns.Close() })
	n.Link, err = link.Open(link.Options{
		Addresses: []netip.Addr{n.Addr4, n.Addr6}, Namespace: ns,
		Routers: []netip.Addr{n.PodCIDR4.Addr().Next(), n.PodCIDR6.Addr().Next()}, Ingress: []netip.Addr{n.Ingress4, n.Ingress6},
	})
	n.Must(struct{}{}, err)
	n.t.Cleanup(n.Link.Close)
	n.Must(struct{}{}, n.Link.Prepare())
}

func (n *Node) openPath() {
	n.Do(n.t, func() (err error) {
		n.Path, err = datapath.Open(datapath.Options{BPFFS: n.BPFFS, Cgroup: n.Root, Uplink: "eth0", IPv4: n.Addr4, IPv6: n.Addr6})
		return err
	})
	n.t.Cleanup(func() { n.Path.Close() })
}

// knows tells the node of a node, which may be itself.
func (n *Node) knows(other *nodes.Node) {
	identity := model.IdentityRemoteNode
	if n.Node == other {
		identity = model.IdentityHost
	}
	for _, a := range []netip.Addr{other.Addr4, other.Addr6} {
		n.identity(netip.PrefixFrom(a, a.BitLen()), identity, netip.Addr{})
	}
	for _, a := range []netip.Addr{other.Ingress4, other.Ingress6} {
		n.identity(netip.PrefixFrom(a, a.BitLen()), model.IdentityIngress, netip.Addr{})
	}
}

func (n *Node) knowsPod(p *nodes.Pod, id model.Identity) {
	addresses := []netip.Addr{p.Addr4, p.Addr6}
	for _, a := range addresses {
		n.identity(netip.PrefixFrom(a, a.BitLen()), id, p.Node.Addr4)
	}
	if p.Node != n.Node {
		return
	}
	var namespace uint64
	p.Do(n.t, func() (err error) {
		namespace, err = cookie()
		return err
	})
	n.Must(n.Path.Endpoints().Update(context.Background(), model.PodEndpoint{
		ID: uint16(id), Pod: model.Name{Namespace: "bench", Name: p.Name}, Addresses: addresses, Interface: p.Interface,
		Index: p.Index, MAC: [6]byte(p.MAC), HostMAC: [6]byte(p.HostMAC), Identity: id, Namespace: namespace,
	}))
	n.Do(n.t, func() error { return n.Path.AttachPod(p.Index) })
}

// cookie is that of this thread's network namespace, see socket(7).
func cookie() (uint64, error) {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("make a socket: %w", err)
	}
	defer unix.Close(s)
	return unix.GetsockoptUint64(s, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
}

func (n *Node) identity(prefix netip.Prefix, id model.Identity, at netip.Addr) {
	n.Must(n.Path.Identities().Update(context.Background(), model.IPIdentity{Prefix: prefix, Identity: id, Cluster: true, Node: at}))
}
