package nodes

import (
	"net/netip"
	"testing"
	"time"
)

// TestUnreachable: an ICMP error about a connection in a pod's name is sent to
// the pod, and reaches Envoy: it answers long before its timeout.
func TestUnreachable(t *testing.T) {
	l := redirectedLab(t)
	l.n1.verdict(idA, egress, idD, 80, toProxy, kPass)
	// what is no pod of n2's meets the stack's routes there
	for _, a := range []string{"10.78.2.200", "fd78:2::200"} {
		family := []string{}
		if a[0] == 'f' {
			family = []string{"-6"}
		}
		l.Nodes[1].Run(t, "ip", append(family, "route", "add", "unreachable", a)...)
		for _, n := range []*labNode{l.n1, l.n2} {
			n.isKnown(netip.MustParseAddr(a), idD)
		}
		r := l.a.Get(t, url(netip.MustParseAddr(a), "/"))
		if r.Status != 503 || r.Took > 3*time.Second {
			t.Errorf("a to %s: status %d after %v: %s%s; want 503 before the timeout of 5 s", a, r.Status, r.Took, r.Body, r.Error)
		}
	}
}
