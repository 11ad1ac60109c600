package datapath_test

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/test/nodes"
)

// newSNATLab is a node that knows its pod a, with these ports for masqueraded
// connections.
func newSNATLab(t *testing.T, first, last uint16) *lab {
	g := nodes.New(t)
	n := g.Nodes[0]
	l := &lab{Ground: g, t: t, a: n.AddPod(t, "a")}
	datapath.SetSNATPorts(t, first, last)
	n.Do(t, func() (err error) {
		l.paths[0], err = datapath.Open(datapath.Options{
			BPFFS: n.BPFFS, Cgroup: n.Root, Uplink: "eth0", IPv4: n.Addr4, IPv6: n.Addr6,
		})
		return err
	})
	t.Cleanup(func() { l.paths[0].Close() })
	l.must(l.paths[0].Endpoints().Update(t.Context(), endpointOf(l.a, idA)))
	return l
}

func (b bench) ages(t *testing.T, by time.Duration) {
	t.Helper()
	if err := b.paths[0].Age(by); err != nil {
		t.Fatal(err)
	}
}

// soon does something as if four seconds less had passed, for a busy machine.
func (b bench) soon(t *testing.T, do func()) {
	t.Helper()
	b.ages(t, -4*time.Second)
	do()
	b.ages(t, 4*time.Second)
}

// sends gives a packet of a's to its device's program and then to the uplink's.
func (b bench) sends(t *testing.T, p ip) (answer int32, frame []byte, reason uint8) {
	t.Helper()
	if answer, _, reason := b.run(t, "from_pod", b.a.Index, p); answer != datapath.Next {
		t.Fatalf("IPv%d: a's packet: answer %d, reason %d, want it passed to the stack", b.family, answer, reason)
	}
	return b.run(t, "to_uplink", b.Nodes[0].Uplink, p)
}

// leaves wants a packet of a's to leave from a port of the node's, and answers
// which.
func (b bench) leaves(t *testing.T, what string, p ip) uint16 {
	t.Helper()
	answer, frame, reason := b.sends(t, p)
	if answer != datapath.Next {
		t.Fatalf("IPv%d, %s: answer %d, reason %d", b.family, what, answer, reason)
	}
	got := look(t, frame).src
	if got.Addr() != b.Nodes[0].Addr(b.family) {
		t.Fatalf("IPv%d, %s: leaves from %s", b.family, what, got)
	}
	return got.Port()
}

// stays wants a packet to find no port.
func (b bench) stays(t *testing.T, what string, p ip) {
	t.Helper()
	if answer, _, reason := b.sends(t, p); answer != datapath.Dropped || reason != 167 {
		t.Errorf("IPv%d, %s: answer %d, reason %d, want it dropped for 167", b.family, what, answer, reason)
	}
}

// hears gives the node an answer of the world's.
func (b bench) hears(t *testing.T, port uint16, p func(src, dst netip.AddrPort) ip, from netip.AddrPort) (to netip.AddrPort) {
	t.Helper()
	_, frame, _ := b.run(t, "from_uplink", b.Nodes[0].Uplink, p(from, netip.AddrPortFrom(b.Nodes[0].Addr(b.family), port)))
	return look(t, frame).dst
}

func segment(flags byte) func(src, dst netip.AddrPort) ip {
	return func(src, dst netip.AddrPort) ip { return tcp(src, dst, flags) }
}

func datagram(src, dst netip.AddrPort) ip { return udp(src, dst, []byte("x")) }

// Where no port of the node's is left, a connection is dropped; another
// destination has the same ports again.
func TestPortsRunOut(t *testing.T) {
	l := newSNATLab(t, 20000, 20003)
	for _, family := range []int{4, 6} {
		b := bench{lab: l, family: family}
		one := netip.AddrPortFrom(l.Client.Addr(family), 80)
		var used []uint16
		for i := range uint16(4) {
			port := b.leaves(t, "one of four", datagram(b.at(b.a, 40000+i), one))
			if slices.Contains(used, port) {
				t.Errorf("connection %d leaves from %d, others have %d", i, port, used)
			}
			used = append(used, port)
		}
		b.stays(t, "a fifth", datagram(b.at(b.a, 40010), one))
		b.leaves(t, "to another port", datagram(b.at(b.a, 40010), netip.AddrPortFrom(one.Addr(), 81)))
	}
}

// Ports of what has ended or is past its time are taken when no other is left,
// though nobody collects: those first that were spared for longest.
func TestPortsAreTaken(t *testing.T) {
	l := newSNATLab(t, 20000, 20003)
	for _, family := range []int{4, 6} {
		b := bench{lab: l, family: family}
		world := netip.AddrPortFrom(l.Client.Addr(family), 80)
		client := func(i uint16) netip.AddrPort { return b.at(b.a, 40000+i) }
		send := func(i uint16, flags byte) uint16 {
			t.Helper()
			return b.leaves(t, "a segment", tcp(client(i), world, flags))
		}
		ports := map[uint16]uint16{} // by connection
		begins := func(i uint16) {
			t.Helper()
			ports[i] = send(i, syn)
			if to := b.hears(t, ports[i], segment(syn|ack), world); to != client(i) {
				t.Fatalf("IPv%d: the answer to connection %d is for %s", family, i, to)
			}
			send(i, ack)
		}
		ends := func(i uint16) {
			t.Helper()
			send(i, fin|ack)
			b.hears(t, ports[i], segment(fin|ack), world)
		}
		for i := range uint16(4) {
			begins(i)
		}
		b.ages(t, time.Hour)
		b.stays(t, "while all are open", tcp(client(4), world, syn))
		ends(0)
		b.soon(t, func() { b.stays(t, "soon after an end", tcp(client(4), world, syn)) })
		b.ages(t, time.Second)
		ends(1)
		b.ages(t, 3*time.Second)
		if begins(4); ports[4] != ports[0] {
			t.Errorf("IPv%d: the fifth leaves from %d, want %d, whose connection has ended", family, ports[4], ports[0])
		}
		b.ages(t, 3*time.Second)
		if port := send(0, ack); port != ports[1] || b.hears(t, ports[4], segment(ack), world) != client(4) {
			t.Errorf("IPv%d: a late segment of the first leaves from %d, want %d; the fifth must not notice", family, port, ports[1])
		}
		b.hears(t, ports[2], segment(rst), world)
		b.ages(t, 5*time.Second)
		b.soon(t, func() { b.stays(t, "soon after a RST", tcp(client(5), world, syn)) })
		b.ages(t, 6*time.Second)
		if begins(5); ports[5] != ports[2] {
			t.Errorf("IPv%d: the sixth leaves from %d, want %d, which was reset", family, ports[5], ports[2])
		}
	}
}

// Conversations in datagrams spare their ports earlier than they are forgotten,
// those with well-known ports first.
func TestPortsOfDatagrams(t *testing.T) {
	l := newSNATLab(t, 20000, 20003)
	for _, family := range []int{4, 6} {
		b := bench{lab: l, family: family}
		for server, spared := range map[uint16]time.Duration{53: 10 * time.Second, 5060: time.Minute} {
			world := netip.AddrPortFrom(l.Client.Addr(family), server)
			for i := range uint16(4) {
				port := b.leaves(t, "one of four", datagram(b.at(b.a, 40000+i), world))
				b.hears(t, port, datagram, world)
			}
			b.ages(t, spared-time.Second)
			b.soon(t, func() { b.stays(t, "a fifth, early", datagram(b.at(b.a, 40004), world)) })
			b.ages(t, 2*time.Second)
			port := b.leaves(t, "a fifth", datagram(b.at(b.a, 40004), world))
			if to := b.hears(t, port, datagram, world); to != b.at(b.a, 40004) {
				t.Errorf("IPv%d: the answer to the fifth is for %s", family, to)
			}
		}
	}
}

// Two that find the same port at the same time do not both get it.
func TestPortTakenAtOnce(t *testing.T) {
	l := newSNATLab(t, 20000, 20001)
	b := bench{lab: l, family: 4}
	world := netip.AddrPortFrom(l.Client.Addr4, 53)
	for i := range uint16(300) {
		var ready atomic.Int32
		var both sync.WaitGroup
		var from [2]netip.AddrPort
		for side := range uint16(2) {
			both.Go(func() {
				p := datagram(b.at(b.a, 30000+2*i+side), world).frame()
				l.Nodes[0].Do(t, func() error {
					for ready.Add(1); ready.Load() < 2; {
					}
					answer, frame, _, err := l.paths[0].RunProgram("to_uplink", l.Nodes[0].Uplink, 0, p)
					if answer == datapath.Next {
						from[side] = look(t, frame).src
					}
					return err
				})
			})
		}
		both.Wait()
		if from[0] == from[1] {
			t.Fatalf("the pair number %d left from %s and %s", i, from[0], from[1])
		}
		b.ages(t, 11*time.Second)
	}
}

// A Service whose backend is on another node serves one client's connections
// without end: fifty a second with a thousand ports, each known for a minute.
func TestPortsOfService(t *testing.T) {
	datapath.SetSNATPorts(t, 20000, 20999)
	l := newLab(t, true)
	l.serve(service{host: 2, nodePort: 30082, backends: []nodes.Machine{l.d.Machine}})
	for _, family := range []int{4, 6} {
		b := bench{lab: l, family: family}
		n, server := l.Nodes[0], b.at(l.d, 8080)
		at := netip.AddrPortFrom(n.Addr(family), 30082)
		n.Do(t, func() error {
			run := func(p ip) (int32, seen, error) {
				answer, frame, _, err := l.paths[0].RunProgram("from_uplink", n.Uplink, 0, p.frame())
				return answer, look(t, frame), err
			}
			for second := range uint16(40) {
				for i := range uint16(50) {
					client := netip.AddrPortFrom(l.Client.Addr(family), 10000+50*second+i)
					answer, out, err := run(tcp(client, at, syn))
					if err != nil || answer != datapath.Redirect {
						t.Fatalf("IPv%d, second %d: answer %d, %v", family, second, answer, err)
					}
					for _, p := range []ip{tcp(server, out.src, syn|ack), tcp(client, at, fin|ack), tcp(server, out.src, fin|ack)} {
						if _, got, err := run(p); err != nil || p.src == server.Addr() && got.dst != client {
							t.Fatalf("IPv%d, second %d: an answer for %s is for %s, %v", family, second, client, got.dst, err)
						}
					}
				}
				if err := l.paths[0].Age(time.Second); err != nil {
					return err
				}
			}
			return nil
		})
	}
}
