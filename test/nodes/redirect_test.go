package nodes

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/link"
)

// inBothFamilies runs a test for IPv4 and IPv6 on one lab.
func inBothFamilies(t *testing.T, f func(t *testing.T, family int)) {
	for _, family := range []int{4, 6} {
		t.Run(fmt.Sprintf("IPv%d", family), func(t *testing.T) { f(t, family) })
	}
}

func pick(family int, v4, v6 netip.Addr) netip.Addr {
	if family == 6 {
		return v6
	}
	return v4
}

// peerOf is the address that the server saw.
func peerOf(r FetchResult) netip.AddrPort {
	p, _ := netip.ParseAddrPort(r.Echo.Peer)
	return p
}

func wantStatus(t *testing.T, what string, r FetchResult, status int) {
	t.Helper()
	if r.Error != "" || r.Status != status {
		t.Errorf("%s: got status %d, error %q, body %q after %v; want %d", what, r.Status, r.Error, r.Body, r.Took, status)
	}
}

// redirectedLab has Envoy on both nodes; every redirected Service answers.
func redirectedLab(t *testing.T) *lab { return withEnvoys(newLab(t)) }

func withEnvoys(l *lab) *lab {
	for _, n := range []*labNode{l.n1, l.n2} {
		n.serve(l)
		n.services(l)
		n.runEnvoy()
		n.listening(kPass, kGatewayTLS, kJudged)
	}
	return l
}

// services writes the lab's Services into a node's maps.
func (n *labNode) services(l *lab) {
	n.t.Helper()
	at := netip.AddrPortFrom
	n.service(at(vip4, 80), 1, kService, at(l.b.Addr4, 80), at(l.d.Addr4, 80))
	n.service(at(vip6, 80), 2, kService6, at(l.b.Addr6, 80), at(l.d.Addr6, 80))
	n.service(at(plain4, 80), 3, 0, at(l.b.Addr4, 80), at(l.d.Addr4, 80))
	n.service(at(plain6, 80), 4, 0, at(l.b.Addr6, 80), at(l.d.Addr6, 80))
	for i, a := range []netip.Addr{balanced4, balanced6, n.Addr4, n.Addr6} {
		http, https := uint16(80), uint16(443)
		if i > 1 {
			http, https = nodePort, nodePortTLS
		}
		n.service(at(a, http), 10+uint32(i), kGateway)
		n.service(at(a, https), 20+uint32(i), kGatewayTLS)
	}
}

// TestRedirect: the way to Envoy and on, in the client's name: pods on this
// node and the other, Services, hairpin; rules by path.
func TestRedirect(t *testing.T) {
	l := redirectedLab(t)
	l.n1.verdict(idA, egress, idB, 80, toProxy, kPublic)
	l.n1.verdict(idA, egress, idD, 80, toProxy, kPass)
	inBothFamilies(t, func(t *testing.T, family int) {
		a := l.a.Addr(family)
		for _, server := range []*Pod{l.b, l.d} {
			r := l.a.Get(t, url(server.Addr(family), "/public"))
			wantStatus(t, "a to "+server.Name, r, 200)
			if p := peerOf(r); p.Addr() != a || p.Port() < 61000 || p.Port() > 64999 {
				t.Errorf("%s saw %s, want %s with a reserved port", server.Name, p, a)
			}
		}
		wantStatus(t, "a to b, forbidden path", l.a.Get(t, url(l.b.Addr(family), "/private")), 403)
		r := l.c.Get(t, url(l.b.Addr(family), "/private"))
		wantStatus(t, "c to b, not redirected", r, 200)
		if p := peerOf(r); p.Addr() != l.c.Addr(family) || p.Port() >= 61000 {
			t.Errorf("b saw %s, want c with a port of its own", p)
		}
		seen := map[string]bool{}
		for range 8 {
			r := l.c.Get(t, url(pick(family, vip4, vip6), "/"))
			wantStatus(t, "c to the Service", r, 200)
			seen[r.Echo.Server] = true
			if p := peerOf(r); p.Addr() != l.c.Addr(family) {
				t.Errorf("%s saw %s, want c", r.Echo.Server, p)
			}
		}
		if len(seen) != 2 {
			t.Errorf("the Service's requests went to %v, want b and d", seen)
		}
		for range 4 { // b asks its own Service and is the backend itself every other time
			r := l.b.Get(t, url(pick(family, vip4, vip6), "/"))
			wantStatus(t, "b to its own Service", r, 200)
			want := l.b.Addr(family)
			if r.Echo.Server == "b" {
				want = pick(family, l.n1.Ingress4, l.n1.Ingress6)
			}
			if p := peerOf(r); p.Addr() != want {
				t.Errorf("%s saw %s, want %s", r.Echo.Server, p, want)
			}
		}
	})
}

// TestRedirectGoesStraight: once an upstream connection within the cluster is
// established its packets need no look at; those of one that is masqueraded do.
func TestRedirectGoesStraight(t *testing.T) {
	l := redirectedLab(t)
	redirectAll(l)
	l.Client.Serve(t, ServeRequest{Address: ":80"})
	inBothFamilies(t, func(t *testing.T, family int) {
		l.n1.verdict(idA, egress, map[int]uint32{4: 9, 6: 10}[family], 80, toProxy, kPass)
		get := func(from *Machine, to, source netip.Addr, mark uint32) {
			t.Helper()
			wantStatus(t, from.Name+" to "+to.String(), from.Fetch(t, FetchRequest{URL: url(to, "/"), Session: to.String()}), 200)
			got := l.n1.marks(func(c link.Connection) bool {
				return c.Local.Addr() == source && c.Remote == netip.AddrPortFrom(to, 80)
			})
			if !slices.Equal(got, []uint32{mark}) {
				t.Errorf("%s to %s: upstreams have marks %#x, want %#x", from.Name, to, got, mark)
			}
		}
		get(&l.a.Machine, l.b.Addr(family), l.a.Addr(family), 0xc00)
		get(&l.a.Machine, l.d.Addr(family), l.a.Addr(family), 0xc00)
		get(&l.a.Machine, l.Client.Addr(family), l.a.Addr(family), 0x400)
	})
	wantStatus(t, "client to a Gateway", l.Client.Fetch(t, FetchRequest{URL: url(balanced4, "/"), Session: "Gateway"}), 200)
	got := l.n1.marks(func(c link.Connection) bool { return isIngress(l, c.Local.Addr()) && c.Remote.Port() == 80 })
	if !slices.Equal(got, []uint32{0x80c00}) { // it speaks for itself
		t.Errorf("a Gateway's upstreams have marks %#x, want 0x80c00", got)
	}
}

// marks are those that the node's connections of some kind have.
func (n *labNode) marks(of func(link.Connection) bool) (marks []uint32) {
	n.t.Helper()
	n.destroy(0, func(c link.Connection) bool {
		if of(c) && !slices.Contains(marks, c.Mark) {
			marks = append(marks, c.Mark)
		}
		return false
	})
	return marks
}

// TestGateway: the outside reaches a redirected frontend on any node, and its
// address is told, whatever it claims.
func TestGateway(t *testing.T) {
	l := redirectedLab(t)
	inBothFamilies(t, func(t *testing.T, family int) {
		client := l.Client.Addr(family)
		targets := []string{netip.AddrPortFrom(pick(family, balanced4, balanced6), 80).String()}
		for _, n := range l.Nodes {
			targets = append(targets, netip.AddrPortFrom(n.Addr(family), nodePort).String())
		}
		for _, target := range targets {
			seen := map[string]bool{}
			for range 8 {
				r := l.Client.Fetch(t, FetchRequest{URL: "http://" + target + "/", Header: map[string]string{
					"X-Forwarded-For": "1.2.3.4", "X-Envoy-External-Address": "1.2.3.4",
				}})
				wantStatus(t, "client to "+target, r, 200)
				seen[r.Echo.Server] = true
				if got := r.Echo.Header.Get("X-Forwarded-For"); got != "1.2.3.4,"+client.String() {
					t.Errorf("%s: X-Forwarded-For is %q", target, got)
				}
				if got := r.Echo.Header.Get("X-Envoy-External-Address"); strings.Contains(got, "1.2.3.4") {
					t.Errorf("%s: X-Envoy-External-Address is %q", target, got)
				}
				if p := peerOf(r).Addr(); !isIngress(l, p) {
					t.Errorf("%s: %s saw %s, want an ingress address", target, r.Echo.Server, p)
				}
			}
			if len(seen) != 2 {
				t.Errorf("%s: requests went to %v, want b and d", target, seen)
			}
		}
		at := netip.AddrPortFrom(pick(family, balanced4, balanced6), 443).String()
		for _, h2 := range []bool{false, true} {
			r := l.Client.Fetch(t, FetchRequest{URL: "https://" + at + "/", H2: h2})
			wantStatus(t, fmt.Sprintf("TLS, HTTP/2 %t", h2), r, 200)
		}
	})
}

func isIngress(l *lab, a netip.Addr) bool {
	for _, n := range l.Nodes {
		if a == n.Ingress4 || a == n.Ingress6 {
			return true
		}
	}
	return false
}

// TestTwoProxies: the client's node and the server's, both in the client's
// name; and both legs on one node, where the second begins in the stack.
func TestTwoProxies(t *testing.T) {
	l := redirectedLab(t)
	l.n1.verdict(idA, egress, idD, 80, toProxy, kPass)
	l.n2.verdict(idD, ingress, idA, 80, toProxy, kJudged)
	l.n1.verdict(idA, egress, idB, 80, toProxy, kPass)
	l.n1.verdict(idB, ingress, idA, 80, toProxy, kJudged)
	l.n1.verdict(idB, ingress, 8, 80, toProxy, kJudged)
	l.n2.verdict(idD, ingress, 8, 80, toProxy, kJudged)
	inBothFamilies(t, func(t *testing.T, family int) {
		for _, server := range []*Pod{l.d, l.b} {
			r := l.a.Get(t, url(server.Addr(family), "/public"))
			wantStatus(t, "a to "+server.Name, r, 200)
			if p := peerOf(r); p.Addr() != l.a.Addr(family) {
				t.Errorf("%s saw %s, want a", server.Name, p)
			}
			wantStatus(t, "a to "+server.Name+", forbidden path", l.a.Get(t, url(server.Addr(family), "/private")), 403)
		}
		at := netip.AddrPortFrom(pick(family, balanced4, balanced6), 80).String()
		for range 4 {
			wantStatus(t, "the Gateway to a pod with rules", l.Client.Get(t, "http://"+at+"/public"), 200)
			wantStatus(t, "the Gateway, forbidden path", l.Client.Get(t, "http://"+at+"/private"), 403)
		}
	})
}
