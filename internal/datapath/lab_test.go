package datapath_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/internal/link"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/test/nodes"
)

// Identities of the lab's pods.
const idA, idB, idD = 1001, 1002, 1003

// lab is two nodes with their data paths: pods a and b on the first, d on the
// second. b and d serve at 8080, HTTP and UDP; so does the client.
type lab struct {
	*nodes.Ground
	t       *testing.T
	paths   [2]*datapath.Node
	a, b, d *nodes.Pod
}

// newLab makes it. Without sockets, processes find Services at tcx alone.
func newLab(t *testing.T, sockets bool) *lab {
	l := &lab{Ground: nodes.New(t), t: t}
	l.a, l.b = l.Nodes[0].AddPod(t, "a"), l.Nodes[0].AddPod(t, "b")
	l.d = l.Nodes[1].AddPod(t, "d")
	for _, m := range []*nodes.Machine{&l.b.Machine, &l.d.Machine, l.Client, &l.Nodes[0].Machine} {
		m.Serve(t, nodes.ServeRequest{Address: ":8080"})
		m.ServeUDP(t, ":8080")
	}
	for i, n := range l.Nodes {
		cgroup := n.Root
		if !sockets {
			cgroup = filepath.Join(n.Root, "nobody")
			if err := os.MkdirAll(cgroup, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		l.paths[i] = openNode(t, n, cgroup)
		l.learn(i)
	}
	return l
}

// newSmallLab is a node that knows its pods a and b, with maps of these sizes.
func newSmallLab(t *testing.T, sizes datapath.Sizes) *lab {
	t.Helper()
	g := nodes.New(t)
	n := g.Nodes[0]
	l := &lab{Ground: g, t: t, a: n.AddPod(t, "a"), b: n.AddPod(t, "b")}
	n.Do(t, func() (err error) {
		l.paths[0], err = datapath.Open(datapath.Options{
			BPFFS: n.BPFFS, Cgroup: n.Root, Uplink: "eth0", IPv4: n.Addr4, IPv6: n.Addr6, Sizes: sizes,
		})
		return err
	})
	t.Cleanup(func() { l.paths[0].Close() })
	l.must(l.paths[0].Endpoints().Update(t.Context(), endpointOf(l.a, idA)))
	l.must(l.paths[0].Endpoints().Update(t.Context(), endpointOf(l.b, idB)))
	return l
}

func openNode(t *testing.T, n *nodes.Node, cgroup string) *datapath.Node {
	t.Helper()
	var path *datapath.Node
	n.Do(t, func() error {
		var err error
		path, err = datapath.Open(datapath.Options{BPFFS: n.BPFFS, Cgroup: cgroup, Uplink: "eth0", IPv4: n.Addr4, IPv6: n.Addr6, Disconnect: link.DestroyDatagrams})
		if err != nil {
			return err
		}
		for _, p := range n.Pods {
			if err := path.AttachPod(p.Index); err != nil {
				return err
			}
		}
		return path.Commit()
	})
	t.Cleanup(func() { path.Close() })
	return path
}

// learn tells a node who is who.
func (l *lab) learn(i int) {
	for j, n := range l.Nodes {
		identity := model.IdentityRemoteNode
		if i == j {
			identity = model.IdentityHost
		}
		for _, a := range []netip.Addr{n.Addr4, n.Addr6} {
			l.identity(i, netip.PrefixFrom(a, a.BitLen()), identity, netip.Addr{})
		}
		for _, a := range []netip.Prefix{n.PodCIDR4, n.PodCIDR6} {
			l.identity(i, a, model.IdentityUnmanaged, netip.Addr{})
		}
	}
	for id, p := range map[model.Identity]*nodes.Pod{idA: l.a, idB: l.b, idD: l.d} {
		for _, a := range []netip.Addr{p.Addr4, p.Addr6} {
			l.identity(i, netip.PrefixFrom(a, a.BitLen()), id, p.Node.Addr4)
		}
		if p.Node == l.Nodes[i] {
			l.must(l.paths[i].Endpoints().Update(context.Background(), endpointOf(p, id)))
		}
	}
}

func endpointOf(p *nodes.Pod, id model.Identity) model.PodEndpoint {
	return model.PodEndpoint{
		ID: uint16(id) - 1000, Addresses: []netip.Addr{p.Addr4, p.Addr6}, Interface: p.Interface, Index: p.Index,
		MAC: mac(p.MAC), HostMAC: mac(p.HostMAC), Identity: id,
	}
}

func mac(a net.HardwareAddr) (m [6]byte) { copy(m[:], a); return m }

// identity tells a node who is at a prefix, and for a pod on which node.
func (l *lab) identity(i int, prefix netip.Prefix, id model.Identity, at netip.Addr) {
	l.must(l.paths[i].Identities().Update(context.Background(), model.IPIdentity{Prefix: prefix, Identity: id, Cluster: true, Node: at}))
}

func (l *lab) must(_ struct{}, err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// A service is written to both nodes: its cluster address, NodePort and load
// balancer address, in both families, TCP and UDP.
type service struct {
	host     byte // of the cluster address 10.96.0.x and the load balancer's 10.97.0.x
	nodePort uint16
	keep     bool // externalTrafficPolicy Local
	backends []nodes.Machine
	leaving  []nodes.Machine // for UDP
}

func (s service) address(network byte, family int) netip.Addr {
	if family == 4 {
		return netip.AddrFrom4([4]byte{10, network, 0, s.host})
	}
	return netip.AddrFrom16([16]byte{0xfd, network, 15: s.host})
}

func (l *lab) serve(s service) {
	for i := range l.paths {
		for _, family := range []int{4, 6} {
			for _, protocol := range []model.L4Protocol{model.TCP, model.UDP} {
				l.write(i, s, family, protocol)
			}
		}
	}
}

func (l *lab) write(i int, s service, family int, protocol model.L4Protocol) {
	all := model.BackendSet{
		Service: model.Name{Namespace: "test", Name: "s" + string('a'+rune(s.host))}, Port: 80, Protocol: protocol, Family: model.IPv4,
	}
	if family == 6 {
		all.Family = model.IPv6
	}
	local := all
	local.Local = true
	for _, m := range s.backends {
		at := netip.AddrPortFrom(m.Addr(family), 8080)
		all.Backends = append(all.Backends, at)
		if l.isOn(i, m) {
			local.Backends = append(local.Backends, at)
		}
	}
	for _, m := range s.leaving {
		if at := netip.AddrPortFrom(m.Addr(family), 8080); protocol == model.UDP {
			all.Leaving = append(all.Leaving, at)
			if l.isOn(i, m) {
				local.Leaving = append(local.Leaving, at)
			}
		}
	}
	ctx, external := context.Background(), all
	l.must(l.paths[i].BackendSets().Update(ctx, all))
	l.must(l.paths[i].BackendSets().Update(ctx, local))
	if s.keep {
		external = local
	}
	row := model.Frontend{Protocol: protocol, Service: all.Service, Port: 80, Internal: all.Key(), KeepSource: s.keep}
	row.Kind, row.Address = model.ClusterIP, netip.AddrPortFrom(s.address(96, family), 80)
	l.must(l.paths[i].Frontends().Update(ctx, row))
	row.External = external.Key()
	row.Kind, row.Address = model.LoadBalancer, netip.AddrPortFrom(s.address(97, family), 80)
	l.must(l.paths[i].Frontends().Update(ctx, row))
	unspecified := netip.IPv4Unspecified()
	if family == 6 {
		unspecified = netip.IPv6Unspecified()
	}
	row.Kind, row.Address = model.NodePort, netip.AddrPortFrom(unspecified, s.nodePort)
	l.must(l.paths[i].Frontends().Update(ctx, row))
}

func (l *lab) isOn(i int, m nodes.Machine) bool {
	n := l.Nodes[i]
	return n.PodCIDR4.Contains(m.Addr4) || n.Addr4 == m.Addr4
}

// route leads the client to an address by way of a node.
func (l *lab) route(to netip.Addr, via *nodes.Node) {
	gateway := via.Addr4
	if to.Is6() {
		gateway = via.Addr6
	}
	l.Client.Run(l.t, "ip", "route", "add", to.String(), "via", gateway.String())
}

func inBothFamilies(t *testing.T, f func(t *testing.T, family int)) {
	t.Run("IPv4", func(t *testing.T) { f(t, 4) })
	t.Run("IPv6", func(t *testing.T) { f(t, 6) })
}

// ask gets a page and tells who served it, and whom the server saw.
func ask(t *testing.T, m *nodes.Machine, to netip.AddrPort) (server string, peer netip.AddrPort) {
	t.Helper()
	r := m.Get(t, "http://"+to.String()+"/")
	if r.Error != "" {
		t.Fatalf("%s asks %s: %s", m.Name, to, r.Error)
	}
	return r.Echo.Server, netip.MustParseAddrPort(r.Echo.Peer)
}

// askUDP is ask with a datagram; the answer must come from where it was asked.
func askUDP(t *testing.T, m *nodes.Machine, to netip.AddrPort, payload string, connect bool) (server string, peer netip.AddrPort) {
	t.Helper()
	r := m.AskUDP(t, nodes.UDPRequest{Address: to.String(), Payload: payload, Connect: connect})
	fields := strings.SplitN(r.Answer, " ", 3)
	if r.Error != "" || len(fields) != 3 || fields[2] != payload {
		t.Fatalf("%s asks %s: %q %s", m.Name, to, r.Answer, r.Error)
	}
	if from := netip.MustParseAddrPort(r.From); from != to {
		t.Errorf("%s asks %s and is answered by %s", m.Name, to, from)
	}
	return fields[0], netip.MustParseAddrPort(fields[1])
}

// pingScript sends an echo request with a payload and waits for the reply.
const pingScript = `
import socket, struct, sys
to, v6 = sys.argv[1], ":" in sys.argv[1]
family, proto = (socket.AF_INET6, 58) if v6 else (socket.AF_INET, 1)
s = socket.socket(family, socket.SOCK_RAW, proto)
s.settimeout(3)
s.connect((to, 0))
echo, reply = (128, 129) if v6 else (8, 0)
payload = b"0123456789" * int(sys.argv[2])
def packet(check):
    return struct.pack("!BBHHH", echo, 0, check, 4711, 1) + payload
n = sum(struct.unpack("!%dH" % (len(packet(0)) // 2), packet(0)))
n = (n & 0xffff) + (n >> 16)
n = (n & 0xffff) + (n >> 16)
s.send(packet(0 if v6 else ~n & 0xffff))
while True:
    got = s.recv(65536)
    if not v6:
        got = got[(got[0] & 15) * 4:]
    if got[0] == reply and got[4:6] == struct.pack("!H", 4711) and got[8:] == payload:
        break
`

// ping sends echo requests, of which one is fragmented, and waits for the
// replies.
func ping(t *testing.T, m *nodes.Machine, to netip.Addr) {
	t.Helper()
	for _, size := range []string{"2", "300"} {
		m.Run(t, "python3", "-c", pingScript, to.String(), size)
	}
}
