package datapath_test

import (
	"bytes"
	"context"
	"net/netip"
	"testing"

	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/test/nodes"
)

// bench runs programs of the lab's first node with packets by hand.
type bench struct {
	*lab
	service netip.AddrPort // whose backend is b
	other   netip.Addr     // a pod of the other node
	family  int
}

func (l *lab) benches() []bench {
	s := service{host: 1, nodePort: 30080, backends: []nodes.Machine{l.b.Machine}}
	l.serve(s)
	var all []bench
	for _, family := range []int{4, 6} {
		all = append(all, bench{l, netip.AddrPortFrom(s.address(96, family), 80), l.d.Addr(family), family})
	}
	return all
}

func (b bench) at(m *nodes.Pod, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(m.Addr(b.family), port)
}

// run gives a packet to a program, and tells its answer, what it leaves of the
// packet, and the reason if it was dropped.
func (b bench) run(t *testing.T, program string, index int, p ip) (answer int32, frame []byte, reason uint8) {
	t.Helper()
	return b.runFrame(t, program, index, p.frame())
}

func (b bench) runFrame(t *testing.T, program string, index int, packet []byte) (answer int32, frame []byte, reason uint8) {
	t.Helper()
	before := b.drops(t)
	b.Nodes[0].Do(t, func() (err error) {
		answer, frame, _, err = b.paths[0].RunProgram(program, index, 0, packet)
		return err
	})
	for r, n := range b.drops(t) {
		if n > before[r] {
			reason = r
		}
	}
	return answer, frame, reason
}

func (l *lab) drops(t *testing.T) map[uint8]uint64 {
	t.Helper()
	counters, err := l.paths[0].Reader().Counters()
	if err != nil {
		t.Fatal(err)
	}
	drops := map[uint8]uint64{}
	for _, c := range counters {
		if c.Reason != 0 {
			drops[c.Reason] += c.Packets
		}
	}
	return drops
}

// passes wants a packet of pod a to be delivered, and looks at what becomes of
// it.
func (b bench) passes(t *testing.T, what string, from *nodes.Pod, p ip) seen {
	t.Helper()
	answer, frame, reason := b.run(t, "from_pod", from.Index, p)
	if answer != datapath.Redirect {
		t.Fatalf("%s: answer %d, reason %d, want it delivered", what, answer, reason)
	}
	return look(t, frame)
}

func (b bench) drop(t *testing.T, what string, reason uint8, from *nodes.Pod, p ip) {
	t.Helper()
	if answer, _, got := b.run(t, "from_pod", from.Index, p); answer != datapath.Dropped || got != reason {
		t.Errorf("%s: answer %d, reason %d, want it dropped for %d (%s)", what, answer, got, reason, datapath.Reason(reason))
	}
}

func TestHeaders(t *testing.T) {
	for _, b := range newLab(t, true).benches() {
		p := tcp(b.at(b.a, 40000), b.at(b.b, 8080), syn)
		got := b.passes(t, "plain", b.a, p)
		if got.ttl != 63 || !bytes.Equal(got.mac, append(bytes.Clone(b.b.MAC), b.b.HostMAC...)) {
			t.Errorf("delivered with TTL %d, MACs % x", got.ttl, got.mac)
		}
		to := tcp(b.at(b.a, 40001), b.service, syn)
		if b.family == 4 {
			to.options = []byte{1, 1, 1, 1, 1, 1, 1, 0}
		} else {
			to.first, to.headers = 0, chain(protoTCP, 0, 60, 60, 60, 60)
		}
		if got := b.passes(t, "with options", b.a, to); got.dst != b.at(b.b, 8080) || got.flags != syn {
			t.Errorf("with options, to the Service: became %v", got)
		}
		to.first, to.headers = 60, chain(protoTCP, 60, 60, 60, 60, 60, 60, 60, 60)
		if b.family == 6 {
			b.drop(t, "eight headers", 156, b.a, to)
		}
		b.drop(t, "an unknown protocol", 142, b.a, ip{src: b.a.Addr(b.family), dst: b.b.Addr(b.family), proto: 99, payload: make([]byte, 20)})
		b.drop(t, "of another pod", 132, b.b, p)
		last := tcp(b.at(b.a, 40002), b.at(b.b, 8080), syn)
		last.ttl = 1
		b.expires(t, last)
	}
}

// expires wants the ICMP error that traceroute looks for.
func (b bench) expires(t *testing.T, p ip) {
	t.Helper()
	answer, frame, reason := b.run(t, "from_pod", b.a.Index, p)
	if answer != datapath.Redirect || reason != 196 {
		t.Fatalf("the last hop: answer %d, reason %d", answer, reason)
	}
	got := look(t, frame)
	if want := map[int]byte{4: 11, 6: 3}[b.family]; got.kind != want || got.dst.Addr() != p.src || got.src.Addr() != b.Nodes[0].Addr(b.family) {
		t.Errorf("the last hop is answered by %+v", got)
	}
	if q := lookQuoted(t, got.quoted); q.src != b.at(b.a, 40002) {
		t.Errorf("the last hop's error quotes %+v", q)
	}
}

func TestTruncated(t *testing.T) {
	for _, b := range newLab(t, true).benches() {
		whole := tcp(b.at(b.a, 40000), b.service, syn).frame()
		for n := 14 + map[int]int{4: 20, 6: 40}[b.family]; n < len(whole); n++ { // no kernel has less of an IP packet
			if answer, _, _ := b.runFrame(t, "from_pod", b.a.Index, whole[:n]); answer != datapath.Dropped {
				t.Errorf("IPv%d, the first %d bytes: answer %d, want dropped", b.family, n, answer)
			}
			b.runFrame(t, "from_uplink", b.Nodes[0].Uplink, whole[:n]) // the node's stack may have it
		}
	}
}

func TestFragments(t *testing.T) {
	for _, b := range newLab(t, true).benches() {
		whole := udp(b.at(b.a, 40000), b.service, bytes.Repeat([]byte("x"), 120))
		first, late := whole, whole
		first.more, first.id, first.payload = true, 7, whole.payload[:64]
		late.offset, late.id, late.payload = 8, 7, whole.payload[64:]
		b.drop(t, "a late fragment alone", 175, b.a, late)
		got := b.passes(t, "the first fragment", b.a, first)
		if got.dst.Addr() != b.b.Addr(b.family) {
			t.Errorf("the first fragment became %+v", got)
		}
		if got := b.passes(t, "the late fragment", b.a, late); got.dst.Addr() != b.b.Addr(b.family) {
			t.Errorf("the late fragment became %+v", got)
		}
		answer := udp(b.at(b.b, 8080), b.at(b.a, 40000), bytes.Repeat([]byte("y"), 120))
		answer.more, answer.id, answer.payload = true, 8, answer.payload[:64]
		if got := b.passes(t, "the answer's fragment", b.b, answer); got.src.Addr() != b.service.Addr() {
			t.Errorf("the answer's fragment became %+v", got)
		}
		segment := tcp(b.at(b.a, 40000), b.service, syn)
		segment.more = true
		b.drop(t, "a fragment of TCP", 157, b.a, segment)
	}
}

// An error about a translated packet is translated back, inside too.
func TestErrors(t *testing.T) {
	for _, b := range newLab(t, true).benches() {
		asked := udp(b.at(b.a, 40000), b.service, []byte("hello, hello"))
		b.passes(t, "the datagram", b.a, asked)
		arrived := udp(b.at(b.a, 40000), b.at(b.b, 8080), []byte("hello, hello"))
		got := b.passes(t, "the error", b.b, unreachable(b.b.Addr(b.family), arrived))
		if got.src.Addr() != b.service.Addr() || got.dst.Addr() != b.a.Addr(b.family) {
			t.Errorf("the error goes from %s to %s", got.src.Addr(), got.dst.Addr())
		}
		if q := lookQuoted(t, got.quoted); q.src != b.at(b.a, 40000) || q.dst != b.service {
			t.Errorf("the error quotes %s -> %s", q.src, q.dst)
		}
		b.drop(t, "an error in the name of a router", 132, b.a, unreachable(b.a.Addr(b.family), arrived))
		strange := udp(b.at(b.a, 41000), b.at(b.b, 8080), []byte("never sent"))
		b.drop(t, "an error about nothing", 134, b.b, unreachable(b.b.Addr(b.family), strange))
		b.drop(t, "an error of another's", 132, b.a, unreachable(b.b.Addr(b.family), arrived))
	}
}

func TestNeighbours(t *testing.T) {
	b := newLab(t, true).benches()[1]
	multicast := netip.MustParseAddr("ff02::1")
	for kind, want := range map[byte]int32{135: datapath.Next, 136: datapath.Next, 143: datapath.Next, 134: datapath.Dropped, 137: datapath.Dropped} {
		p := ip{src: netip.MustParseAddr("fe80::2"), dst: multicast, ttl: 255, proto: protoICMPv6, payload: make([]byte, 24)}
		if kind == 143 {
			p.ttl = 1
		}
		p.payload[0] = kind
		p.payload = sealed(p.src, p.dst, protoICMPv6, 2, p.payload)
		if answer, _, _ := b.run(t, "from_pod", b.a.Index, p); answer != want {
			t.Errorf("type %d: answer %d, want %d", kind, answer, want)
		}
		p.ttl = 64
		if answer, _, _ := b.run(t, "from_pod", b.a.Index, p); answer != datapath.Dropped {
			t.Errorf("type %d that a router would forward: answer %d, want it dropped", kind, answer)
		}
	}
}

// traceroute by echo requests sees the node, too.
func TestExpiredEcho(t *testing.T) {
	for _, b := range newLab(t, true).benches() {
		p := ip{src: b.a.Addr(b.family), dst: b.b.Addr(b.family), ttl: 1, proto: protoICMP, payload: make([]byte, 24)}
		p.payload[0] = 8
		if b.family == 6 {
			p.proto, p.payload[0] = protoICMPv6, 128
		}
		p.payload[4], p.payload[5] = 0x12, 0x34
		p.payload = sealed(p.src, p.dst, p.proto, 2, p.payload)
		answer, frame, reason := b.run(t, "from_pod", b.a.Index, p)
		if answer != datapath.Redirect || reason != 196 {
			t.Fatalf("IPv%d: answer %d, reason %d, want an error", b.family, answer, reason)
		}
		got := look(t, frame)
		if want := map[int]byte{4: 11, 6: 3}[b.family]; got.kind != want || got.dst.Addr() != p.src || got.src.Addr() != b.Nodes[0].Addr(b.family) {
			t.Errorf("IPv%d: answered by %+v", b.family, got)
		}
	}
}

// In a cluster of both families the world is two.
func TestWorlds(t *testing.T) {
	for _, b := range newLab(t, true).benches() {
		world := map[int]model.Identity{4: model.IdentityWorldIPv4, 6: model.IdentityWorldIPv6}[b.family]
		enforce := endpointOf(b.b, idB)
		enforce.EnforceIngress = true
		b.must(b.paths[0].Endpoints().Update(context.Background(), enforce))
		ask := func(port uint16, want int32) {
			t.Helper()
			p := tcp(netip.AddrPortFrom(b.Client.Addr(b.family), port), b.at(b.b, 8080), syn)
			if answer, _, reason := b.run(t, "from_uplink", b.Nodes[0].Uplink, p); answer != want {
				t.Errorf("IPv%d: answer %d, reason %d, want %d", b.family, answer, reason, want)
			}
		}
		ask(40000, datapath.Dropped)
		b.must(b.paths[0].Verdicts().Update(context.Background(), model.Verdict{Endpoint: enforce.ID, Direction: model.Ingress, Identity: world, Action: model.Allow}))
		ask(40001, datapath.Redirect)
	}
}

// A connection is judged by what its pod is now, not by what it was when it
// began.
func TestIdentityChanges(t *testing.T) {
	for _, b := range newLab(t, true).benches() {
		ctx := context.Background()
		enforce := endpointOf(b.b, idB)
		enforce.EnforceIngress = true
		b.must(b.paths[0].Endpoints().Update(ctx, enforce))
		b.must(b.paths[0].Endpoints().Update(ctx, endpointOf(b.a, idA)))
		early := endpointOf(b.a, idA)
		early.Identity = model.IdentityInit
		b.must(b.paths[0].Endpoints().Update(ctx, early))
		init := model.Verdict{Endpoint: enforce.ID, Direction: model.Ingress, Identity: model.IdentityInit, Action: model.Allow}
		b.must(b.paths[0].Verdicts().Update(ctx, init))
		forward, back := tcp(b.at(b.a, 40000), b.service, ack), tcp(b.at(b.b, 8080), b.at(b.a, 40000), ack)
		b.passes(t, "SYN", b.a, tcp(b.at(b.a, 40000), b.service, syn))
		known := init
		known.Identity = idA
		b.must(b.paths[0].Verdicts().Update(ctx, known))
		if err := b.paths[0].Verdicts().Delete(ctx, init.Key()); err != nil {
			t.Fatal(err)
		}
		b.must(b.paths[0].Endpoints().Update(ctx, endpointOf(b.a, idA)))
		b.passes(t, "back, now that a is known", b.b, back)
		b.passes(t, "forward", b.a, forward)
		if err := b.paths[0].Verdicts().Delete(ctx, known.Key()); err != nil {
			t.Fatal(err)
		}
		b.drop(t, "nobody is allowed", 133, b.a, forward)
	}
}

// IGMP stays on its link: it is no way round source check and verdicts.
func TestMembership(t *testing.T) {
	b := newLab(t, true).benches()[0]
	p := ip{src: b.a.Addr4, dst: netip.MustParseAddr("224.0.0.22"), ttl: 1, proto: 2, payload: make([]byte, 16)}
	if answer, _, _ := b.run(t, "from_pod", b.a.Index, p); answer != datapath.Next {
		t.Errorf("a report: answer %d, want it passed", answer)
	}
	p.ttl, p.dst = 64, b.b.Addr4
	b.drop(t, "to another pod", 142, b.a, p)
	p.src = b.b.Addr4
	b.drop(t, "from another pod's address", 132, b.a, p)
}

// A packet from outside with the node's own address is not the node's.
func TestNodeFromOutside(t *testing.T) {
	b := newLab(t, true).benches()[0]
	enforce := endpointOf(b.b, idB)
	enforce.EnforceIngress = true
	b.must(b.paths[0].Endpoints().Update(context.Background(), enforce))
	b.must(b.paths[0].Verdicts().Update(context.Background(), model.Verdict{Endpoint: enforce.ID, Direction: model.Ingress, Identity: model.IdentityHost, Action: model.Allow}))
	forged := tcp(netip.AddrPortFrom(b.Nodes[0].Addr4, 40000), b.at(b.b, 8080), syn)
	if answer, _, reason := b.run(t, "from_uplink", b.Nodes[0].Uplink, forged); answer != datapath.Dropped || reason != 133 {
		t.Errorf("answer %d, reason %d, want it denied", answer, reason)
	}
}

// A packet from outside in a connection of a pod of this node is not the pod's.
// Those of a known connection of another node's pod are delivered.
func TestKnownFromOutside(t *testing.T) {
	for _, b := range newLab(t, true).benches() {
		uplink := b.Nodes[0].Uplink
		b.passes(t, "a SYN to b", b.a, tcp(b.at(b.a, 40000), b.at(b.b, 8080), syn))
		forged := tcp(b.at(b.a, 40000), b.at(b.b, 8080), ack)
		if answer, _, reason := b.run(t, "from_uplink", uplink, forged); answer != datapath.Dropped || reason != 132 {
			t.Errorf("in a's name: answer %d, reason %d, want it dropped for 132", answer, reason)
		}
		for _, flags := range []byte{syn, ack} {
			from := netip.AddrPortFrom(b.other, 40001)
			if answer, _, reason := b.run(t, "from_uplink", uplink, tcp(from, b.at(b.b, 8080), flags)); answer != datapath.Redirect {
				t.Errorf("from the other node, flags %d: answer %d, reason %d, want it delivered", flags, answer, reason)
			}
		}
	}
}

// What a pod sends to other nodes is marked, so that it passes the uplink's hook
// unasked; what leaves the cluster is not.
func TestInside(t *testing.T) {
	const inside = 0xa00
	for _, b := range newLab(t, true).benches() {
		world := netip.MustParseAddr("198.51.100.1")
		if b.family == 6 {
			world = netip.MustParseAddr("2001:db8::1")
		}
		for to, want := range map[netip.Addr]uint32{b.other: inside, b.Nodes[1].Addr(b.family): inside, world: 0} {
			for _, flags := range []byte{syn, ack} {
				var mark uint32
				p := tcp(b.at(b.a, 40002), netip.AddrPortFrom(to, 8080), flags)
				b.Nodes[0].Do(t, func() (err error) {
					_, _, mark, err = b.paths[0].RunProgram("from_pod", b.a.Index, 0, p.frame())
					return err
				})
				if mark != want {
					t.Errorf("to %s, flags %d: mark %#x, want %#x", to, flags, mark, want)
				}
			}
		}
	}
}

// A SYN that is sent again leaves from the port of the first: the answer to
// that one may be under way.
func TestSYNAgain(t *testing.T) {
	l := newLab(t, true)
	s := service{host: 2, nodePort: 30082, backends: []nodes.Machine{l.d.Machine}}
	l.serve(s)
	for _, family := range []int{4, 6} {
		b := bench{lab: l, family: family}
		client := netip.AddrPortFrom(l.Client.Addr(family), 40000)
		again := func() netip.AddrPort {
			t.Helper()
			answer, frame, reason := b.run(t, "from_uplink", l.Nodes[0].Uplink, tcp(client, netip.AddrPortFrom(l.Nodes[0].Addr(family), 30082), syn))
			if answer != datapath.Redirect {
				t.Fatalf("SYN: answer %d, reason %d", answer, reason)
			}
			return look(t, frame).src
		}
		if first, second := again(), again(); first != second || first.Addr() != l.Nodes[0].Addr(family) {
			t.Errorf("the first SYN left from %s, the second from %s", first, second)
		}
	}
}

// The answer to a segment whose connection nobody knows, to a Service.
func TestUnknownConnection(t *testing.T) {
	for _, b := range newLab(t, true).benches() {
		answer, frame, _ := b.run(t, "from_pod", b.a.Index, tcp(b.at(b.a, 40000), b.service, ack))
		if answer != datapath.Redirect {
			t.Fatalf("answer %d, want RST", answer)
		}
		if got := look(t, frame); got.flags != rst || got.src != b.service || got.dst != b.at(b.a, 40000) {
			t.Errorf("answered by %+v", got)
		}
	}
}

// Verdicts in their order: the first that is there decides, but a denial
// decides wherever it is.
func TestPrecedence(t *testing.T) {
	b := newLab(t, true).benches()[0]
	ctx, verdicts := context.Background(), b.paths[0].Verdicts()
	patterns := []model.Verdict{
		{Identity: idB, Protocol: model.TCP, Port: 8080}, {Protocol: model.TCP, Port: 8080},
		{Identity: idB, Protocol: model.TCP}, {Protocol: model.TCP},
		{Identity: idB}, {},
	}
	enforce := endpointOf(b.a, idA)
	enforce.EnforceEgress = true
	b.must(b.paths[0].Endpoints().Update(ctx, enforce))
	port := uint16(40000)
	try := func(what string, reason uint8) {
		t.Helper()
		port++
		answer, _, got := b.run(t, "from_pod", b.a.Index, tcp(b.at(b.a, port), b.at(b.b, 8080), syn))
		want := map[bool]int32{true: datapath.Redirect, false: datapath.Dropped}[reason == 0]
		if answer != want && reason != 178 || got != reason { // after 2 s there is an answer to who is led to nobody
			t.Errorf("%s: answer %d, reason %d, want reason %d", what, answer, got, reason)
		}
	}
	try("nothing matches", 133)
	for i, pattern := range patterns {
		pattern.Endpoint, pattern.Direction = enforce.ID, model.Egress
		for j := range i + 1 { // those before it have precedence
			other := patterns[j]
			other.Endpoint, other.Direction = enforce.ID, model.Egress
			pattern.Action, other.Action = model.ToProxy, model.Allow
			b.must(verdicts.Update(ctx, pattern))
			if i != j {
				try("to the proxy", 178)
				b.must(verdicts.Update(ctx, other))
			} else {
				b.must(verdicts.Update(ctx, other))
			}
			try("allowed by what is more specific", 0)
			pattern.Action = model.Deny
			b.must(verdicts.Update(ctx, pattern))
			try("denied by any", 181)
			for _, v := range []model.Verdict{pattern, other} {
				if err := verdicts.Delete(ctx, v.Key()); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	try("all taken back", 133)
}

// A connection is judged anew when the policy of either side changes.
func TestRevision(t *testing.T) {
	for _, b := range newLab(t, true).benches() {
		ctx, verdicts := context.Background(), b.paths[0].Verdicts()
		open := tcp(b.at(b.a, 40000), b.service, syn)
		forward := tcp(b.at(b.a, 40000), b.service, ack)
		back := tcp(b.at(b.b, 8080), b.at(b.a, 40000), ack)
		for _, v := range []model.Verdict{
			{Endpoint: idA - 1000, Direction: model.Egress, Identity: idB, Action: model.Deny},
			{Endpoint: idB - 1000, Direction: model.Ingress, Identity: idA, Protocol: model.TCP, Port: 8080, Action: model.Deny},
		} {
			for _, next := range []struct {
				from *nodes.Pod
				p    ip
			}{{b.a, forward}, {b.b, back}} {
				b.passes(t, "SYN", b.a, open)
				b.passes(t, "forward", b.a, forward)
				b.passes(t, "back", b.b, back)
				b.must(verdicts.Update(ctx, model.Verdict{Endpoint: v.Endpoint, Direction: v.Direction, Action: model.Allow}))
				b.passes(t, "forward, judged anew", b.a, forward)
				b.passes(t, "back, judged anew", b.b, back)
				b.must(verdicts.Update(ctx, v))
				b.drop(t, "revoked", 181, next.from, next.p)
				if err := verdicts.Delete(ctx, v.Key()); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
