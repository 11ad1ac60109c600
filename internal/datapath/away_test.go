package datapath_test

import (
	"net/netip"
	"testing"

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
