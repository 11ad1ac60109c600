package nodes

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/link"
)

// TestDenied: who may not gets 403 at once, in each of the three places where
// it is found out: at the client's SYN, where Envoy connects, and on the
// backend's node.
func TestDenied(t *testing.T) {
	l := redirectedLab(t)
	inBothFamilies(t, func(t *testing.T, family int) {
		forbidden := func(what string, from *Machine, url string) {
			t.Helper()
			r := from.Get(t, url)
			wantStatus(t, what, r, 403)
			if r.Body != "Access denied\r\n" {
				t.Errorf("%s: the body is %q", what, r.Body)
			}
		}
		gateway := "http://" + netip.AddrPortFrom(pick(family, balanced4, balanced6), 80).String() + "/"

		l.n1.verdict(idA, egress, idB, 80, toProxy, kDenied)
		forbidden("at the SYN", &l.a.Machine, url(l.b.Addr(family), "/"))

		l.n1.verdict(idA, egress, idB, 80, toProxy, kPass)
		l.n1.verdict(idA, egress, idD, 80, toProxy, kPass)
		l.n1.verdict(idB, ingress, idA, 80, deny, 0)
		forbidden("where Envoy connects, this node's pod", &l.a.Machine, url(l.b.Addr(family), "/"))
		l.n1.verdict(idB, ingress, 8, 80, deny, 0)
		l.n2.verdict(idD, ingress, 8, 80, deny, 0)
		for _, n := range []*labNode{l.n1, l.n2} { // connections that were kept while it was allowed
			n.destroy(0, func(c link.Connection) bool {
				return c.Local.Addr() == n.Ingress4 || c.Local.Addr() == n.Ingress6
			})
		}
		for range 4 { // b is here, d is there
			forbidden("where Envoy connects for a Gateway", l.Client, gateway)
		}

		l.n2.verdict(idD, ingress, idA, 80, deny, 0)
		forbidden("on the backend's node", &l.a.Machine, url(l.d.Addr(family), "/"))

		l.n1.noVerdict(idB, ingress, idA, 80)
		l.n1.noVerdict(idB, ingress, 8, 80)
		l.n2.noVerdict(idD, ingress, 8, 80)
		l.n2.noVerdict(idD, ingress, idA, 80)
		wantStatus(t, "allowed again", l.a.Get(t, url(l.d.Addr(family), "/")), 200)
		wantStatus(t, "the Gateway, allowed again", l.Client.Get(t, gateway), 200)

		// a backend that is away stays what it is: 503
		r := l.a.Get(t, "http://"+netip.AddrPortFrom(l.d.Addr(family), 81).String()+"/")
		if r.Status == 403 {
			t.Errorf("a closed port is answered with 403")
		}
	})
}

// TestDeniedOnTheNode: a process of the node that asks a redirected Service
// learns at once that a pod's policy denies it.
func TestDeniedOnTheNode(t *testing.T) {
	l := redirectedLab(t)
	inBothFamilies(t, func(t *testing.T, family int) {
		target := url(pick(family, vip4, vip6), "/")
		l.n1.verdict(idB, ingress, 1, 80, deny, 0)
		l.n2.verdict(idD, ingress, 6, 80, deny, 0)
		for range 4 { // b is here, d is there
			r := l.Nodes[0].Get(t, target)
			wantStatus(t, "the node, denied", r, 403)
		}
		l.n1.noVerdict(idB, ingress, 1, 80)
		l.n2.noVerdict(idD, ingress, 6, 80)
		wantStatus(t, "the node, allowed", l.Nodes[0].Get(t, target), 200)
	})
}

// TestDeniedWithoutProxy: who is no proxy gets no answer.
func TestDeniedWithoutProxy(t *testing.T) {
	l := newLab(t)
	l.n2.verdict(idD, ingress, idA, 80, deny, 0)
	r := l.a.Dial(t, DialRequest{Address: netip.AddrPortFrom(l.d.Addr4, 80).String(), Timeout: 700 * time.Millisecond})
	if r.Error == "" || r.Refused || r.Took < 700*time.Millisecond {
		t.Errorf("a denied pod learnt something: %+v", r)
	}
}

// TestRevocation: connections that stand are ended on both legs when a verdict
// is taken back, and nothing hangs.
func TestRevocation(t *testing.T) {
	l := redirectedLab(t)
	l.n1.verdict(idA, egress, idB, 80, toProxy, kPass)
	inBothFamilies(t, func(t *testing.T, family int) {
		b, session := l.b.Addr(family), "kept "+t.Name()
		get := func() FetchResult {
			return l.a.Fetch(t, FetchRequest{URL: url(b, "/"), Session: session})
		}
		wantStatus(t, "before", get(), 200)

		// Envoy's connection to the backend: the next request is denied
		l.n1.verdict(idB, ingress, idA, 80, deny, 0)
		l.n1.destroy(1, func(c link.Connection) bool {
			return c.Local.Addr() == l.a.Addr(family) && c.Remote == netip.AddrPortFrom(b, 80)
		})
		r := get()
		wantStatus(t, "after the backend refused", r, 403)
		if r.Dials != 1 {
			t.Errorf("the client has connected %d times", r.Dials)
		}
		l.n1.noVerdict(idB, ingress, idA, 80)
		wantStatus(t, "allowed again", get(), 200)

		// the client's connection: it comes again, to the listener that denies
		l.n1.verdict(idA, egress, idB, 80, toProxy, kDenied)
		l.n1.destroy(1, func(c link.Connection) bool {
			return c.Remote.Addr() == l.a.Addr(family) && c.Local == netip.AddrPortFrom(b, 80)
		})
		r = get()
		wantStatus(t, "after the client was refused", r, 403)
		if r.Dials != 2 {
			t.Errorf("the client has connected %d times, want 2", r.Dials)
		}
		l.n1.verdict(idA, egress, idB, 80, toProxy, kPass)
	})
}

// destroy ends connections and checks that there were some.
func (n *labNode) destroy(atLeast int, match func(link.Connection) bool) {
	n.t.Helper()
	ended, err := n.link.DestroyConnections(match)
	n.must("destroy connections", err)
	if ended < atLeast {
		n.t.Errorf("%d connections were destroyed, want %d", ended, atLeast)
	}
}

// forgeScript sends a segment in a connection between two addresses, by a raw
// socket.
const forgeScript = `
import socket, struct, sys
src, sport, dst, dport = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
v6 = ":" in src
s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
s.bind((src, 0))
def segment(check):
    return struct.pack("!HHIIBBHHH", sport, dport, 1000, 1000, 5 << 4, 0x18, 1024, check, 0) + b"GET /private HTTP/1.1\r\n\r\n"
family = socket.AF_INET6 if v6 else socket.AF_INET
body = segment(0)
pseudo = socket.inet_pton(family, src) + socket.inet_pton(family, dst) + struct.pack("!II", len(body), 6)
data = pseudo + body
data += b"\0" * (len(data) % 2)
n = sum(struct.unpack("!%dH" % (len(data) // 2), data))
n = (n & 0xffff) + (n >> 16)
n = (n & 0xffff) + (n >> 16)
s.sendto(segment(~n & 0xffff), (dst, 0))
`

// TestForgedSegments: a pod cannot speak in the connection that the proxy made
// in its name.
func TestForgedSegments(t *testing.T) {
	l := redirectedLab(t)
	l.n1.verdict(idA, egress, idB, 80, toProxy, kPublic)
	l.n1.verdict(idA, egress, idD, 80, toProxy, kPublic)
	inBothFamilies(t, func(t *testing.T, family int) {
		for _, server := range []*Pod{l.b, l.d} {
			r := l.a.Fetch(t, FetchRequest{URL: url(server.Addr(family), "/public"), Session: t.Name() + server.Name})
			wantStatus(t, "by the proxy", r, 200)
			p := peerOf(r)
			if p.Addr() != l.a.Addr(family) || p.Port() < 61000 {
				t.Fatalf("the server saw %s", p)
			}
			before, sent := l.n1.drops(231), l.a.Addr(family).String()
			l.a.Run(t, "python3", "-c", forgeScript, sent, fmt.Sprint(p.Port()), server.Addr(family).String(), "80")
			if n := l.n1.drops(231) - before; n != 1 {
				t.Errorf("%d segments of a's were dropped, want 1", n)
			}
			r = l.a.Fetch(t, FetchRequest{URL: url(server.Addr(family), "/public"), Session: t.Name() + server.Name})
			wantStatus(t, "by the proxy, again", r, 200)
			if peerOf(r) != p {
				t.Errorf("the server saw %s, before %s", peerOf(r), p)
			}
		}
	})
}

// drops counts packets by their reason.
func (n *labNode) drops(reason uint8) (packets uint64) {
	n.t.Helper()
	counters, err := n.path.Reader().Counters()
	n.must("count drops", err)
	for _, c := range counters {
		if c.Reason == reason {
			packets += c.Packets
		}
	}
	return packets
}

// TestReservedPorts: a pod that uses the proxy's source ports is refused, for
// redirected destinations and others; a proxy of another node is not.
func TestReservedPorts(t *testing.T) {
	l := redirectedLab(t)
	l.n1.verdict(idA, egress, idB, 80, toProxy, kPass)
	inBothFamilies(t, func(t *testing.T, family int) {
		for i, server := range []*Pod{l.b, l.d} {
			at := netip.AddrPortFrom(server.Addr(family), 80).String()
			shift := 10*i + family // no port twice: the first use lingers
			for from, want := range map[int]bool{60999 - shift: false, 61000 + shift: true, 64999 - shift: true, 65000 + shift: false} {
				r := l.a.Dial(t, DialRequest{Address: at, LocalPort: from})
				if r.Refused != want || r.Refused != (r.Error != "") {
					t.Errorf("a:%d to %s: %+v, want refused %t", from, at, r, want)
				}
			}
		}
	})
}
