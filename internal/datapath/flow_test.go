package datapath_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/test/nodes"
)

// A conversation longer than a packet: its datagram is fragmented.
var long = strings.Repeat("0123456789", 300)

func TestPodsTalk(t *testing.T) {
	l := newLab(t, true)
	inBothFamilies(t, func(t *testing.T, family int) {
		for _, to := range []*nodes.Machine{&l.b.Machine, &l.d.Machine} {
			at := netip.AddrPortFrom(to.Addr(family), 8080)
			for _, from := range []*nodes.Machine{&l.a.Machine, &l.Nodes[0].Machine} {
				if server, peer := ask(t, from, at); server != to.Name || from == &l.a.Machine && peer.Addr() != from.Addr(family) {
					t.Errorf("%s asked %s: %s was asked by %s", from.Name, to.Name, server, peer)
				}
				if _, peer := askUDP(t, from, at, long, true); from == &l.a.Machine && peer.Addr() != from.Addr(family) {
					t.Errorf("%s sent to %s, which saw %s", from.Name, to.Name, peer)
				}
			}
		}
		node := netip.AddrPortFrom(l.Nodes[0].Addr(family), 8080)
		if server, peer := ask(t, &l.a.Machine, node); server != "n1" || peer.Addr() != l.a.Addr(family) {
			t.Errorf("a asked its node: %s was asked by %s", server, peer)
		}
		ping(t, &l.a.Machine, l.b.Addr(family))
		ping(t, &l.a.Machine, l.d.Addr(family))
	})
}

func TestServices(t *testing.T) {
	for name, sockets := range map[string]bool{"sockets": true, "packets": false} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, sockets)
			s := service{host: 1, nodePort: 30080, backends: []nodes.Machine{l.b.Machine, l.d.Machine}}
			l.serve(s)
			inBothFamilies(t, func(t *testing.T, family int) {
				at := []netip.AddrPort{
					netip.AddrPortFrom(s.address(96, family), 80), netip.AddrPortFrom(s.address(97, family), 80),
					netip.AddrPortFrom(l.Nodes[0].Addr(family), s.nodePort),
				}
				for _, at := range at {
					l.reachesAll(t, &l.a.Machine, at, l.a.Addr(family))
				}
				if sockets {
					for _, at := range append(at, netip.AddrPortFrom(loopback(family), s.nodePort)) {
						l.reachesAll(t, &l.Nodes[0].Machine, at, netip.Addr{})
					}
				}
			})
		})
	}
}

func loopback(family int) netip.Addr {
	if family == 4 {
		return netip.MustParseAddr("127.0.0.1")
	}
	return netip.IPv6Loopback()
}

// reachesAll asks until both backends have answered, TCP and UDP. Each must
// have seen the address; the zero address: whatever.
func (l *lab) reachesAll(t *testing.T, m *nodes.Machine, at netip.AddrPort, seen netip.Addr) {
	t.Helper()
	asks := map[string]func() (string, netip.AddrPort){
		"TCP":           func() (string, netip.AddrPort) { return ask(t, m, at) },
		"connected UDP": func() (string, netip.AddrPort) { return askUDP(t, m, at, "x", true) },
		"UDP":           func() (string, netip.AddrPort) { return askUDP(t, m, at, long, false) },
	}
	for how, ask := range asks {
		var answered []string
		for range 60 {
			server, peer := ask()
			if !slices.Contains(answered, server) {
				answered = append(answered, server)
			}
			if seen.IsValid() && peer.Addr() != seen {
				t.Errorf("%s %s to %s: %s saw %s, want %s", m.Name, how, at, server, peer, seen)
			}
			if len(answered) == 2 {
				break
			}
		}
		if len(answered) != 2 {
			t.Errorf("%s %s to %s: only %v answered", m.Name, how, at, answered)
		}
	}
}

// A pod reaches itself through its Service, and sees the Service as its peer
// where packets are translated.
func TestHairpin(t *testing.T) {
	l := newLab(t, false)
	s := service{host: 1, nodePort: 30080, backends: []nodes.Machine{l.b.Machine}}
	l.serve(s)
	inBothFamilies(t, func(t *testing.T, family int) {
		at := netip.AddrPortFrom(s.address(96, family), 80)
		if server, peer := ask(t, &l.b.Machine, at); server != "b" || peer.Addr() != at.Addr() {
			t.Errorf("b asked itself: %s saw %s", server, peer)
		}
		if server, peer := askUDP(t, &l.b.Machine, at, long, true); server != "b" || peer.Addr() != at.Addr() {
			t.Errorf("b asked itself: %s saw %s", server, peer)
		}
	})
}

func TestFromOutside(t *testing.T) {
	l := newLab(t, true)
	client := func(family int) netip.Addr { return l.Client.Addr(family) }
	node := func(family int) netip.Addr { return l.Nodes[0].Addr(family) }
	cases := []struct {
		name string
		service
		server string
		peer   func(family int) netip.Addr
	}{
		{"local", service{host: 1, nodePort: 30081, backends: []nodes.Machine{l.b.Machine}}, "b", client},
		{"remote", service{host: 2, nodePort: 30082, backends: []nodes.Machine{l.d.Machine}}, "d", node},
		{"policy Local", service{host: 3, nodePort: 30083, keep: true, backends: []nodes.Machine{l.b.Machine, l.d.Machine}}, "b", client},
		{"the node", service{host: 4, nodePort: 30084, backends: []nodes.Machine{l.Nodes[0].Machine}}, "n1", client},
	}
	for _, c := range cases {
		l.serve(c.service)
		inBothFamilies(t, func(t *testing.T, family int) {
			l.route(c.address(97, family), l.Nodes[0])
			for _, at := range []netip.AddrPort{
				netip.AddrPortFrom(node(family), c.nodePort), netip.AddrPortFrom(c.address(97, family), 80),
			} {
				if server, peer := ask(t, l.Client, at); server != c.server || peer.Addr() != c.peer(family) {
					t.Errorf("%s at %s: %s was asked by %s", c.name, at, server, peer)
				}
				if server, peer := askUDP(t, l.Client, at, long, true); server != c.server || peer.Addr() != c.peer(family) {
					t.Errorf("%s at %s, UDP: %s was asked by %s", c.name, at, server, peer)
				}
			}
		})
	}
}

// Who has nobody behind it rejects at once.
func TestNoBackends(t *testing.T) {
	for name, sockets := range map[string]bool{"sockets": true, "packets": false} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, sockets)
			s := service{host: 1, nodePort: 30080}
			l.serve(s)
			inBothFamilies(t, func(t *testing.T, family int) {
				cluster := netip.AddrPortFrom(s.address(96, family), 80)
				port := netip.AddrPortFrom(l.Nodes[0].Addr(family), s.nodePort)
				refuses(t, &l.a.Machine, cluster)
				refuses(t, &l.a.Machine, port)
				refuses(t, l.Client, port)
				if sockets {
					refuses(t, &l.Nodes[0].Machine, cluster)
				}
			})
		})
	}
}

// At a Service's address, where no port of it is, nobody answers at once.
func TestClosedPorts(t *testing.T) {
	for name, sockets := range map[string]bool{"sockets": true, "packets": false} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, sockets)
			s := service{host: 1, nodePort: 30080, backends: []nodes.Machine{l.b.Machine}}
			l.serve(s)
			inBothFamilies(t, func(t *testing.T, family int) {
				l.route(s.address(97, family), l.Nodes[0])
				refuses(t, &l.a.Machine, netip.AddrPortFrom(s.address(96, family), 81))
				refuses(t, l.Client, netip.AddrPortFrom(s.address(97, family), 81))
				if sockets {
					refuses(t, &l.Nodes[0].Machine, netip.AddrPortFrom(s.address(96, family), 81))
				}
			})
			// an address that nodes have, too, is theirs to answer at
			l.must(l.paths[0].Frontends().Update(context.Background(), model.Frontend{
				Address: netip.AddrPortFrom(l.Nodes[1].Addr4, 81), Protocol: model.TCP, Kind: model.LoadBalancer,
				Service: model.Name{Namespace: "test", Name: "sb"}, Port: 80, Internal: model.BackendSetKey(model.Name{Namespace: "test", Name: "sb"}, 80, model.TCP, model.IPv4, false),
			}))
			l.Nodes[1].Serve(t, nodes.ServeRequest{Address: ":82"})
			ask(t, &l.a.Machine, netip.AddrPortFrom(l.Nodes[1].Addr4, 82))
		})
	}
}

// A socket that is connected to a UDP backend learns that it serves no more, in
// a pod and on the node; those of others stay. An agent that starts after the
// backend has left knows it, too.
func TestConnectedDatagrams(t *testing.T) {
	l := newLab(t, true)
	one := service{host: 1, nodePort: 30081, backends: []nodes.Machine{l.b.Machine}}
	two := service{host: 2, nodePort: 30082, backends: []nodes.Machine{l.b.Machine}}
	l.serve(one)
	l.serve(two)
	for _, m := range []*nodes.Machine{&l.a.Machine, &l.Nodes[0].Machine} {
		isRestarted := m != &l.a.Machine
		at := []netip.AddrPort{netip.AddrPortFrom(one.address(96, 4), 80), netip.AddrPortFrom(one.address(96, 6), 80), netip.AddrPortFrom(two.address(96, 4), 80)}
		sockets := talk(t, m, at[:1], at[1:2], at[2:])
		all := fmt.Sprintf("b at %s, b at %s, b at %s", at[0], at[1], at[2])
		sockets.say("connected", all)
		one.backends = []nodes.Machine{l.d.Machine}
		l.serve(one)
		forget := func() {
			t.Helper()
			if err := l.paths[0].ForgetBackends(); err != nil {
				t.Error(err)
			}
		}
		l.paths[0].AgeBackends(-time.Minute)
		forget()
		sockets.say("while answers may be late", all)
		if isRestarted {
			l.paths[0].Close()
			l.paths[0] = openNode(t, l.Nodes[0], l.Nodes[0].Root)
		} else {
			l.paths[0].AgeBackends(2 * time.Minute)
		}
		forget()
		sockets.say("when b has left", "Destination address required, Destination address required, b at "+at[2].String())
		sockets.end()
		one.backends = []nodes.Machine{l.b.Machine}
		l.serve(one)
	}
}

func refuses(t *testing.T, m *nodes.Machine, at netip.AddrPort) {
	t.Helper()
	if r := m.Dial(t, nodes.DialRequest{Address: at.String()}); !r.Refused || r.Took > time.Second/2 {
		t.Errorf("%s to %s: %q after %s, want refused at once", m.Name, at, r.Error, r.Took)
	}
	r := m.AskUDP(t, nodes.UDPRequest{Address: at.String(), Connect: true, Payload: "x", Timeout: time.Second})
	if !strings.Contains(r.Error, "refused") {
		t.Errorf("%s to %s, UDP: %q, want refused", m.Name, at, r.Error)
	}
}

// What leaves the cluster has the node's address.
func TestMasquerade(t *testing.T) {
	l := newLab(t, true)
	inBothFamilies(t, func(t *testing.T, family int) {
		at := netip.AddrPortFrom(l.Client.Addr(family), 8080)
		for range 3 {
			masqueraded := func(server string, peer netip.AddrPort) {
				t.Helper()
				if server != "client" || peer.Addr() != l.Nodes[0].Addr(family) || peer.Port() < 20000 || peer.Port() > 29999 {
					t.Errorf("a asked the world: %s saw %s", server, peer)
				}
			}
			masqueraded(ask(t, &l.a.Machine, at))
			masqueraded(askUDP(t, &l.a.Machine, at, long, true))
		}
		ping(t, &l.a.Machine, l.Client.Addr(family))
		// nobody listens: the world's ICMP error finds its way back
		closed := netip.AddrPortFrom(l.Client.Addr(family), 9)
		r := l.a.AskUDP(t, nodes.UDPRequest{Address: closed.String(), Connect: true, Payload: "x", Timeout: 2 * time.Second})
		if !strings.Contains(r.Error, "refused") {
			t.Errorf("a to a closed port of the world: %q, want refused", r.Error)
		}
		// who reaches a pod by its own address is answered from it
		l.route(l.b.Addr(family), l.Nodes[0])
		if server, peer := ask(t, l.Client, netip.AddrPortFrom(l.b.Addr(family), 8080)); server != "b" || peer.Addr() != l.Client.Addr(family) {
			t.Errorf("the world asked b: %s saw %s", server, peer)
		}
	})
}

// A socket for both families may name an IPv4 Service in IPv6's form.
func TestMappedAddresses(t *testing.T) {
	l := newLab(t, true)
	s := service{host: 1, nodePort: 30080, backends: []nodes.Machine{l.d.Machine}}
	l.serve(s)
	script := `
import socket, sys
to = ("::ffff:10.96.0.1", 80)
tcp = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
tcp.connect(to)
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.settimeout(3)
udp.sendto(b"hello", to)
answer, sender = udp.recvfrom(100)
print(tcp.getpeername()[:2], sender[:2], answer.decode().split()[0])
`
	got := strings.TrimSpace(l.a.Run(t, "python3", "-c", script))
	if want := "('::ffff:10.96.0.1', 80) ('::ffff:10.96.0.1', 80) d"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

const claimScript = `
import socket, sys
try:
    socket.create_connection((sys.argv[1], 8080), timeout=1, source_address=(sys.argv[2], 0))
    print("connected")
except TimeoutError:
    print("timed out")
`

// A pod that claims another's address, or a port of the proxy's, gets nowhere.
func TestSpoofing(t *testing.T) {
	l := newLab(t, true)
	inBothFamilies(t, func(t *testing.T, family int) {
		at := netip.AddrPortFrom(l.b.Addr(family), 8080)
		r := l.a.Dial(t, nodes.DialRequest{Address: at.String(), LocalPort: 61500})
		if !r.Refused {
			t.Errorf("from port 61500: %q, want refused", r.Error)
		}
		other := netip.MustParseAddr("10.78.1.77")
		if family == 6 {
			other = netip.MustParseAddr("fd78:1::77")
		}
		l.a.Run(t, "ip", "addr", "add", other.String()+"/"+strconv.Itoa(other.BitLen()), "dev", "eth0", "nodad")
		out := l.a.Run(t, "python3", "-c", claimScript, at.Addr().String(), other.String())
		if strings.TrimSpace(out) != "timed out" {
			t.Errorf("with another's address: %s, want silence", out)
		}
	})
	counted := map[uint8]bool{}
	counters, err := l.paths[0].Reader().Counters()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range counters {
		counted[c.Reason] = true
	}
	for _, reason := range []uint8{132, 231} {
		if !counted[reason] {
			t.Errorf("no drop is counted for reason %d: %v", reason, counters)
		}
	}
}
