package datapath_test

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/test/nodes"
)

// What was silent for its time is not used any more, and collected.
func TestCollect(t *testing.T) {
	b := newLab(t, true).benches()[0]
	path := b.paths[0]
	b.passes(t, "TCP", b.a, tcp(b.at(b.a, 40000), b.service, syn))
	b.passes(t, "TCP's answer", b.b, tcp(b.at(b.b, 8080), b.at(b.a, 40000), syn|ack))
	b.passes(t, "UDP", b.a, udp(b.at(b.a, 40000), b.service, []byte("x")))
	collect := func(what string, entries, removed int) {
		t.Helper()
		got, err := path.Collect()
		if err != nil {
			t.Fatal(err)
		}
		if got.Entries != entries || got.Removed != removed || got.Limit != 262144 {
			t.Errorf("%s: %+v, want %d entries, %d removed", what, got, entries, removed)
		}
	}
	collect("fresh", 4, 0)
	if err := path.Age(time.Minute + time.Second); err != nil {
		t.Fatal(err)
	}
	// an answer to what nobody asks any more is a connection of its own
	if got := b.passes(t, "a late answer", b.b, udp(b.at(b.b, 8080), b.at(b.a, 40000), []byte("x"))); got.src != b.at(b.b, 8080) {
		t.Errorf("a late answer is still the Service's: %+v", got)
	}
	if err := path.Age(time.Minute + time.Second); err != nil {
		t.Fatal(err)
	}
	collect("old datagrams", 2, 3)
	b.passes(t, "TCP goes on", b.a, tcp(b.at(b.a, 40000), b.service, ack))
	b.passes(t, "one side ends", b.a, tcp(b.at(b.a, 40000), b.service, fin|ack))
	if err := path.Age(time.Minute + time.Second); err != nil {
		t.Fatal(err)
	}
	collect("half closed", 2, 0)
	if got := b.passes(t, "the other side goes on", b.b, tcp(b.at(b.b, 8080), b.at(b.a, 40000), ack)); got.src != b.service {
		t.Errorf("the other side goes on as %s, want %s", got.src, b.service)
	}
	b.passes(t, "the other side ends", b.b, tcp(b.at(b.b, 8080), b.at(b.a, 40000), fin|ack))
	b.passes(t, "the last segment", b.a, tcp(b.at(b.a, 40000), b.service, ack))
	if err := path.Age(time.Minute + time.Second); err != nil {
		t.Fatal(err)
	}
	collect("ended", 0, 2)
}

// A connection that goes on after a RST was not ended by it: neither of its
// directions, and whoever speaks next. One that does not is.
func TestResetByAnybody(t *testing.T) {
	b := newLab(t, true).benches()[0]
	connections := map[string]uint16{"the one side goes on": 40001, "the other side goes on": 40002, "nobody goes on": 40003}
	asks := func(what string, port uint16, flags byte) {
		b.passes(t, what, b.a, tcp(b.at(b.a, port), b.service, flags))
	}
	answers := func(what string, port uint16, flags byte) seen {
		return b.passes(t, what, b.b, tcp(b.at(b.b, 8080), b.at(b.a, port), flags))
	}
	for what, port := range connections {
		asks(what, port, syn)
		answers(what, port, syn|ack)
		asks(what, port, rst)
		switch port {
		case 40001:
			asks(what, port, ack)
		case 40002:
			answers(what, port, ack)
		}
	}
	if err := b.paths[0].Age(time.Minute + time.Second); err != nil {
		t.Fatal(err)
	}
	for what, port := range connections {
		if got, goesOn := answers(what, port, ack), port != 40003; (got.src == b.service) != goesOn {
			t.Errorf("%s after a RST: a minute later it is %s that answers, want the Service's %s: %t", what, got.src, b.service, goesOn)
		}
		asks(what, port, ack)
	}
}

// Both sides may end at the same time, on two CPUs: neither's FIN is lost.
func TestEndAtOnce(t *testing.T) {
	l := newSmallLab(t, datapath.Sizes{})
	b := bench{lab: l, family: 4}
	const connections, first = 3000, 20000
	var sides sync.WaitGroup
	var turn [2]atomic.Int32
	for side, pod := range []*nodes.Pod{b.a, b.b} {
		sides.Go(func() {
			l.Nodes[0].Do(t, func() error {
				for i := range uint16(connections) {
					segment := func(flags byte) []byte {
						if side == 0 {
							return tcp(b.at(b.a, first+i), b.at(b.b, 8080), flags).frame()
						}
						return tcp(b.at(b.b, 8080), b.at(b.a, first+i), flags).frame()
					}
					end := segment(fin | ack)
					if side == 0 {
						if _, _, _, err := l.paths[0].RunProgram("from_pod", pod.Index, 0, segment(syn)); err != nil {
							return err
						}
					}
					for turn[side].Add(1); turn[1-side].Load() < turn[side].Load(); { // the other is ready
					}
					if _, _, _, err := l.paths[0].RunProgram("from_pod", pod.Index, 0, end); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
	sides.Wait()
	if err := l.paths[0].Age(time.Minute + time.Second); err != nil {
		t.Fatal(err)
	}
	if got, err := l.paths[0].Collect(); err != nil || got.Entries != 0 || got.Removed != 2*connections {
		t.Errorf("%+v, %v: want all to have ended", got, err)
	}
}

// A pod that opens connections and sends fragments without end loses its own
// entries, and nobody else does.
func TestShares(t *testing.T) {
	l := newSmallLab(t, datapath.Sizes{Conntrack: 8192, Fragments: 4096 + 4*256})
	l.d = l.Nodes[1].AddPod(t, "d")
	b := bench{lab: l, family: 4}
	quiet := func(i uint16) ip { return tcp(b.at(b.a, 40000+i), b.at(b.b, 8080), syn) }
	datagram := udp(b.at(b.a, 40000), b.at(b.b, 9000), bytes.Repeat([]byte("x"), 120))
	first, late := datagram, datagram
	first.more, first.id, first.payload = true, 7, datagram.payload[:64]
	late.offset, late.id, late.payload = 8, 7, datagram.payload[64:]
	for i := range uint16(20) {
		b.passes(t, "a's connections", b.a, quiet(i))
	}
	b.passes(t, "a's first fragment", b.a, first)
	l.Nodes[0].Do(t, func() error {
		for i := range uint16(12000) {
			flood := udp(netip.AddrPortFrom(b.b.Addr4, 1000+i), netip.AddrPortFrom(l.d.Addr4, 53), []byte("x"))
			flood.more, flood.id = true, i
			if _, _, _, err := l.paths[0].RunProgram("from_pod", b.b.Index, 0, flood.frame()); err != nil {
				return err
			}
		}
		return nil
	})
	b.passes(t, "a's second fragment", b.a, late)
	left := map[uint8]int{}
	for _, row := range rowsOf(t, l.paths[0], "conntrack") {
		if strings.HasPrefix(row, "TCP") {
			left[6]++
		} else {
			left[17]++
		}
	}
	if most := 2*8192/16 + 2; left[6] != 40 || left[17] < 500 || left[17] > most { // two are of a's datagram
		t.Errorf("of a's 40 entries %d are left, of b's %d, want all and at most %d", left[6], left[17], most)
	}
}

// A pod that has many conversations in datagrams keeps its idle sessions: what
// is closed for others was silent for most of its time, and is counted.
func TestSharesOfOnePod(t *testing.T) {
	l := newSmallLab(t, datapath.Sizes{Conntrack: 8192})
	b := bench{lab: l, family: 4}
	opens := func(n int, first uint16, ask, answer func(port uint16) ip) {
		t.Helper()
		l.Nodes[0].Do(t, func() error {
			for port := first; port < first+uint16(n); port++ {
				_, _, _, err1 := l.paths[0].RunProgram("from_pod", b.b.Index, 0, ask(port).frame())
				_, _, _, err2 := l.paths[0].RunProgram("from_pod", b.a.Index, 0, answer(port).frame())
				if err := errors.Join(err1, err2); err != nil {
					return err
				}
			}
			return nil
		})
	}
	age := func(by time.Duration) {
		t.Helper()
		if err := l.paths[0].Age(by); err != nil {
			t.Fatal(err)
		}
	}
	session := func(port uint16) ip { return tcp(b.at(b.b, port), b.at(b.a, 8080), syn) }
	accept := func(port uint16) ip { return tcp(b.at(b.a, 8080), b.at(b.b, port), syn|ack) }
	query := func(port uint16) ip { return udp(b.at(b.b, port), b.at(b.a, 53), []byte("x")) }
	reply := func(port uint16) ip { return udp(b.at(b.a, 53), b.at(b.b, port), []byte("x")) }
	closed := func() (packets uint64) {
		counters, err := l.paths[0].Reader().Counters()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range counters {
			if c.Reason == datapath.ClosedForAnother {
				packets += c.Packets
			}
		}
		return packets
	}
	sessions := func() (n int) {
		for _, row := range rowsOf(t, l.paths[0], "conntrack") {
			if strings.HasPrefix(row, "TCP") {
				n++
			}
		}
		return n
	}
	opens(40, 40000, session, accept) // of 512 seats
	age(100 * time.Second)
	opens(250, 10000, query, reply)
	if got := closed(); got != 0 {
		t.Errorf("%d living connections were closed though there is room for half as many more", got)
	}
	age(100 * time.Second)
	opens(280, 20000, query, reply)
	if got := sessions(); got != 80 {
		t.Errorf("%d of 80 entries of idle sessions are left", got)
	}
	if closed() == 0 {
		t.Error("nobody is told that living connections were closed")
	}
}

// A client may ask one backend by two addresses of its Service, from one port:
// the answers are told apart.
func TestOneBackendTwoAddresses(t *testing.T) {
	for _, b := range newLab(t, true).benches() {
		client := netip.AddrPortFrom(b.Client.Addr(b.family), 5000)
		uplink := b.Nodes[0].Uplink
		for _, local := range []nodes.Machine{b.b.Machine, b.Nodes[0].Machine} {
			s := service{host: 1, nodePort: 30080, backends: []nodes.Machine{local}}
			b.serve(s)
			backend := netip.AddrPortFrom(local.Addr(b.family), 8080)
			at := []netip.AddrPort{netip.AddrPortFrom(b.Nodes[0].Addr(b.family), 30080), netip.AddrPortFrom(s.address(97, b.family), 80)}
			var seenAs []netip.AddrPort
			for i, to := range append(at, at...) {
				_, frame, reason := b.run(t, "from_uplink", uplink, tcp(client, to, syn))
				got := look(t, frame)
				if got.dst != backend || got.src.Addr() != client.Addr() {
					t.Fatalf("SYN to %s became %s -> %s, reason %d", to, got.src, got.dst, reason)
				}
				if seenAs = append(seenAs, got.src); i >= 2 && got.src != seenAs[i-2] {
					t.Errorf("SYN to %s again came from %s, before from %s", to, got.src, seenAs[i-2])
				}
			}
			if seenAs[0] == seenAs[1] {
				t.Fatalf("%s sees two connections from %s", backend, seenAs[0])
			}
			for i, to := range at {
				answer := tcp(backend, seenAs[i], syn|ack)
				var frame []byte
				if local.Name == "b" {
					_, frame, _ = b.run(t, "from_pod", b.b.Index, answer)
				} else {
					_, frame, _ = b.run(t, "to_uplink", uplink, answer)
				}
				if got := look(t, frame); got.src != to || got.dst != client {
					t.Errorf("the answer of %s for %s became %s -> %s", backend, to, got.src, got.dst)
				}
			}
		}
	}
}

// A connection that begins anew while its old entries are collected stays.
func TestCollectWhileItBegins(t *testing.T) {
	b := newLab(t, true).benches()[0]
	path := b.paths[0]
	begins := func() { b.passes(t, "TCP", b.a, tcp(b.at(b.a, 40000), b.service, syn)) }
	begins()
	if err := path.Age(time.Minute + time.Second); err != nil {
		t.Fatal(err)
	}
	if removed, err := path.CollectWhile(begins); removed != 0 || err != nil {
		t.Errorf("%d entries removed, %v", removed, err)
	}
	if got := b.passes(t, "and goes on", b.a, tcp(b.at(b.a, 40000), b.service, ack)); got.dst != b.at(b.b, 8080) {
		t.Errorf("became %s -> %s", got.src, got.dst)
	}
}

// A conversation in datagrams leaves a backend that serves no more, whose late
// answers arrive all the same.
func TestBackendLeaves(t *testing.T) {
	for _, b := range newLab(t, true).benches() {
		client := netip.AddrPortFrom(b.Client.Addr(b.family), 5000)
		node := netip.AddrPortFrom(b.Nodes[0].Addr(b.family), 30080)
		ask := func(want netip.AddrPort) {
			t.Helper()
			answer, frame, reason := b.run(t, "from_uplink", b.Nodes[0].Uplink, udp(client, node, []byte("x")))
			if answer != datapath.Redirect {
				t.Fatalf("answer %d, reason %d", answer, reason)
			}
			if got := look(t, frame); got.dst != want || got.src != client {
				t.Errorf("became %s -> %s, want it for %s", got.src, got.dst, want)
			}
		}
		b.serve(service{host: 1, nodePort: 30080, backends: []nodes.Machine{b.b.Machine}})
		ask(b.at(b.b, 8080))
		b.serve(service{host: 1, nodePort: 30080, backends: []nodes.Machine{b.a.Machine}})
		ask(b.at(b.a, 8080))
		if late := b.passes(t, "a late answer", b.b, udp(b.at(b.b, 8080), client, []byte("x"))); late.src != node || late.dst != client {
			t.Errorf("a late answer became %s -> %s", late.src, late.dst)
		}
		b.serve(service{host: 1, nodePort: 30080, backends: []nodes.Machine{b.b.Machine, b.a.Machine}})
		ask(b.at(b.a, 8080)) // it stays where it is
	}
}

// An unconnected socket keeps its backend as long as that serves.
func TestDatagramsStay(t *testing.T) {
	l := newLab(t, true)
	s := service{host: 1, nodePort: 30080, backends: []nodes.Machine{l.b.Machine, l.d.Machine}}
	l.serve(s)
	const script = `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(3)
for i in range(20):
    s.sendto(b"x", ("10.96.0.1", 80))
    print(s.recvfrom(100)[0].decode().split()[0])
`
	var all []string
	for range 8 {
		servers := strings.Fields(l.a.Run(t, "python3", "-c", script))
		if n := len(slices.Compact(slices.Sorted(slices.Values(servers)))); n != 1 || len(servers) != 20 {
			t.Errorf("one socket was answered by %v", servers)
		}
		all = append(all, servers[0])
	}
	if slices.Sort(all); len(slices.Compact(all)) != 2 {
		t.Errorf("eight sockets were all answered by %v", all)
	}
}

// A connection that has the ports of one that has ended lasts like any other.
func TestMasqueradedAgain(t *testing.T) {
	for _, b := range newLab(t, true).benches() {
		n := b.Nodes[0]
		from, world := b.at(b.a, 40000), netip.AddrPortFrom(b.Client.Addr(b.family), 80)
		for _, connection := range []string{"the first connection", "the next one with its ports"} {
			sends := func(flags byte) netip.AddrPort {
				_, frame, _ := b.run(t, "to_uplink", n.Uplink, tcp(from, world, flags))
				return look(t, frame).src
			}
			outside := sends(syn)
			hears := func(when string, flags byte) {
				t.Helper()
				if _, frame, _ := b.run(t, "from_uplink", n.Uplink, tcp(world, outside, flags)); look(t, frame).dst != from {
					t.Errorf("IPv%d, %s, %s: an answer to %s is for %s, want %s", b.family, connection, when, outside, look(t, frame).dst, from)
				}
			}
			hears("at first", syn|ack)
			sends(ack)
			if err := b.paths[0].Age(10 * time.Minute); err != nil {
				t.Fatal(err)
			}
			hears("after ten minutes", ack)
			sends(fin | ack)
			hears("at its end", fin|ack)
		}
	}
}

// Traffic that stays in the cluster keeps its source.
func TestClusterIsNotMasqueraded(t *testing.T) {
	for _, b := range newLab(t, true).benches() {
		p := udp(b.at(b.a, 40000), netip.AddrPortFrom(b.other, 80), []byte("x"))
		_, frame, _ := b.run(t, "to_uplink", b.Nodes[0].Uplink, p)
		if got := look(t, frame); got.src != b.at(b.a, 40000) {
			t.Errorf("to another pod: from %s", got.src)
		}
		if err := b.paths[0].Identities().Delete(context.Background(), model.IPIdentity{Prefix: netip.PrefixFrom(b.other, b.other.BitLen())}.Key()); err != nil {
			t.Fatal(err)
		}
		_, frame, _ = b.run(t, "to_uplink", b.Nodes[0].Uplink, p) // the range of its node's pods remains
		if got := look(t, frame); got.src != b.at(b.a, 40000) {
			t.Errorf("to another pod, by range: from %s", got.src)
		}
	}
}
