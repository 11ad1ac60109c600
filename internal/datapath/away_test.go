package datapath_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/datapath"
)

// What goes to pods of other nodes passes the node's stack by, in both
// directions, if the node's routes lead there by the uplink.
func TestPastTheStack(t *testing.T) {
	for _, b := range newLab(t, true).benches() {
		run := func(what, program string, index int, p ip, want int32) {
			t.Helper()
			answer, frame, reason := b.run(t, program, index, p)
			if answer != want {
				t.Fatalf("IPv%d, %s: answer %d, reason %d, want %d", b.family, what, answer, reason, want)
			}
			if want == datapath.Redirect && look(t, frame).ttl != 63 {
				t.Errorf("IPv%d, %s: has TTL %d", b.family, what, look(t, frame).ttl)
			}
		}
		out := func(what string, port uint16, to netip.Addr, flags byte, want int32) {
			t.Helper()
			run(what, "from_pod", b.a.Index, tcp(b.at(b.a, port), netip.AddrPortFrom(to, 8080), flags), want)
		}
		other := netip.AddrPortFrom(b.other, 40000)
		out("to another node's pod", 40000, b.other, syn, datapath.Redirect)
		out("known", 40000, b.other, ack, datapath.Redirect)
		out("to another node", 40001, b.Nodes[1].Addr(b.family), syn, datapath.Next)
		run("from another node's pod", "from_uplink", b.Nodes[0].Uplink, tcp(other, b.at(b.a, 80), syn), datapath.Redirect)
		run("its answer", "from_pod", b.a.Index, tcp(b.at(b.a, 80), other, syn|ack), datapath.Redirect)
		b.Nodes[0].Run(t, "ip", "route", "add", "unreachable", netip.PrefixFrom(b.other, b.other.BitLen()).String())
		out("by another route", 40002, b.other, syn, datapath.Next)
		out("known, by another route", 40002, b.other, ack, datapath.Next)
	}
}

// Connections follow the routes when these lead elsewhere, whoever began them
// and whichever direction's packet comes first.
func TestRoutesThatChange(t *testing.T) {
	l := newLab(t, true)
	node := l.Nodes[0]
	node.Run(t, "ip", "link", "add", "other", "type", "veth", "peer", "name", "peer")
	node.Run(t, "ip", "link", "set", "other", "up")
	node.Run(t, "ip", "link", "set", "peer", "up")
	for _, b := range l.benches() {
		at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(b.other, port) }
		run := func(what, program string, index int, p ip, want int32) {
			t.Helper()
			if answer, _, reason := b.run(t, program, index, p); answer != want {
				t.Errorf("IPv%d, %s: answer %d, reason %d, want %d", b.family, what, answer, reason, want)
			}
		}
		send := func(what string, from, to uint16, flags byte, want int32) {
			t.Helper()
			run(what, "from_pod", b.a.Index, tcp(b.at(b.a, from), at(to), flags), want)
		}
		get := func(what, program string, from, to uint16, flags byte, want int32) {
			t.Helper()
			index := map[string]int{"from_uplink": node.Uplink, "to_pod": b.a.Index}[program]
			run(what, program, index, tcp(at(from), b.at(b.a, to), flags), want)
		}
		later := func() {
			t.Helper()
			if err := b.paths[0].Age(2 * time.Second); err != nil {
				t.Fatal(err)
			}
		}
		for port := uint16(40000); port < 40004; port++ {
			send("begins", port, 8080, syn, datapath.Redirect)
		}
		get("asks a", "from_uplink", 40000, 80, syn, datapath.Redirect)
		later()
		send("the same route", 40000, 8080, ack, datapath.Redirect)
		later()

		prefix := netip.PrefixFrom(b.other, b.other.BitLen()).String()
		node.Run(t, "ip", "route", "add", prefix, "dev", "other")
		send("another route", 40000, 8080, ack, datapath.Next)
		get("an answer by the uplink", "from_uplink", 8080, 40001, ack, datapath.Redirect)
		send("after the answer", 40001, 8080, ack, datapath.Next)
		get("an answer by the other device", "to_pod", 8080, 40002, ack, datapath.Next)
		send("after that answer", 40002, 8080, ack, datapath.Next)
		send("a's answer", 80, 40000, ack, datapath.Next)

		node.Run(t, "ip", "route", "del", prefix, "dev", "other")
		send("does not return", 40000, 8080, ack, datapath.Next)
		send("knew nothing of it", 40003, 8080, ack, datapath.Redirect)
	}
}

// What is larger than the way may carry is the stack's to answer or to cut.
func TestWayThatBecomesNarrow(t *testing.T) {
	for _, b := range newLab(t, true).benches() {
		to := netip.AddrPortFrom(b.other, 8080)
		send := func(what string, flags byte, size int, want int32) {
			t.Helper()
			p := tcp(b.at(b.a, 40000), to, flags)
			p.payload = append(p.payload, make([]byte, size)...)
			if answer, _, reason := b.run(t, "from_pod", b.a.Index, p); answer != want {
				t.Errorf("IPv%d, %s: answer %d, reason %d, want %d", b.family, what, answer, reason, want)
			}
			if err := b.paths[0].Age(2 * time.Second); err != nil {
				t.Fatal(err)
			}
		}
		for _, narrow := range [][2]string{
			{"link set eth0 mtu 1300", "link set eth0 mtu 1500"},
			{fmt.Sprintf("route add %s via %s mtu lock 1300", to.Addr(), b.Nodes[1].Addr(b.family)), "route del " + to.Addr().String()},
		} {
			send("begins", syn, 0, datapath.Redirect)
			send("large", ack, 1400, datapath.Redirect)
			b.Nodes[0].Run(t, "ip", strings.Fields(narrow[0])...)
			send("small, "+narrow[0], ack, 1000, datapath.Redirect)
			send("large, "+narrow[0], ack, 1400, datapath.Next)
			send("small, after a large one", ack, 1000, datapath.Next)
			b.Nodes[0].Run(t, "ip", strings.Fields(narrow[1])...)
		}
	}
}
