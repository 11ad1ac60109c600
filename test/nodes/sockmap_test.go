package nodes

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/waggle-mesh/waggle/internal/link"
)

// TestSockmap: data of pods of one node passes their devices no more, and a
// verdict that is taken back counts all the same.
func TestSockmap(t *testing.T) {
	l := withEnvoys(newLabWith(t, true))
	redirectAll(l)
	inBothFamilies(t, func(t *testing.T, family int) {
		b := l.b.Addr(family)
		get := func() FetchResult {
			return l.a.Fetch(t, FetchRequest{URL: url(b, "/"), Session: t.Name()})
		}
		wantStatus(t, "the first", get(), 200)
		before := packets(l.b)
		const requests = 100
		for range requests {
			wantStatus(t, "a kept connection", get(), 200)
		}
		if n := packets(l.b) - before; n > requests/2 {
			t.Errorf("%d requests took %d packets at b's device", requests, n)
		}
		wantStatus(t, "to the other node", l.a.Get(t, url(l.d.Addr(family), "/")), 200)
		r := l.a.Fetch(t, FetchRequest{URL: url(b, "/"), Method: "POST", Body: 4 << 20})
		wantStatus(t, "a large body", r, 200)

		l.n1.verdict(idB, ingress, idA, 80, deny, 0)
		l.n1.destroy(1, func(c link.Connection) bool {
			return c.Local.Addr() == l.a.Addr(family) && c.Remote == netip.AddrPortFrom(b, 80)
		})
		wantStatus(t, "after it was taken back", get(), 403)
		l.n1.noVerdict(idB, ingress, idA, 80)
	})
}

// TestAgentSockmap: the same with the product, under --sockmap; connections that
// are kept go on when the agent is killed and another comes.
func TestAgentSockmap(t *testing.T) {
	n, a, _, b := agentLab(t, "--sockmap")
	n.apply(webConfig)
	n.startEnvoy()
	n.byEnvoy(a)
	get := func(family int) {
		t.Helper()
		r := a.Fetch(t, FetchRequest{URL: url(pick(family, web4, web6), "/"), Session: fmt.Sprint(family)})
		wantStatus(t, "a to the Service", r, 200)
		if r.Echo.Header.Get("X-By") != "envoy" || peerOf(r).Addr() != a.Addr(family) {
			t.Errorf("b heard %s, by %q", peerOf(r), r.Echo.Header.Get("X-By"))
		}
	}
	unseen := func(when string) {
		t.Helper()
		for _, family := range []int{4, 6} {
			get(family)
			fromA, fromB := packets(a), packets(b)
			const requests = 100
			for range requests {
				get(family)
			}
			if fromA, fromB = packets(a)-fromA, packets(b)-fromB; fromA > requests/2 || fromB > requests/2 {
				t.Errorf("%s, IPv%d: %d requests took %d packets from a and %d from b", when, family, requests, fromA, fromB)
			}
		}
	}
	unseen("at first")
	n.stopAgent(syscall.SIGKILL)
	get(4)
	n.startAgent()
	unseen("with another agent")
}

// pretendScript gives a pod another's addresses and has it talk to itself in
// their name, as if by the proxy.
const pretendScript = `
import errno, socket, subprocess, sys
client, server = sys.argv[1], sys.argv[2]
v6 = ":" in client
for a in (client, server):
    subprocess.run(["ip", "addr", "add", a + ("/128" if v6 else "/32"), "dev", "lo"] + (["nodad"] if v6 else []), check=True)
family = socket.AF_INET6 if v6 else socket.AF_INET
for at, sport, dport, mark in ((server, int(sys.argv[3]), 80, 0), (server, 61500, 80, 0), (server, 62000, 80, 0x400), ("::1" if v6 else "127.0.0.1", 61501, 80, 0x400)):
    l = socket.socket(family)
    l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    l.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    l.bind((at, dport))
    l.listen()
    while True:
        c = socket.socket(family)
        c.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        c.bind((client if at == server else at, sport))
        try:
            c.connect((at, dport))
            break
        except OSError as e:
            if e.errno != errno.ENETUNREACH: # the address's route comes later
                raise
    s, _ = l.accept()
    c.send(b"x")
    assert s.recv(1) == b"x"
`

// TestSockmapForged: a pod that makes its network namespace look like another's
// gets none of the other's data.
func TestSockmapForged(t *testing.T) {
	l := withEnvoys(newLabWith(t, true))
	redirectAll(l)
	streams := func() (n int) {
		table := l.n1.table("streams")
		defer table.Close()
		var key [40]byte
		for err := table.NextKey(nil, &key); err == nil; err = table.NextKey(key, &key) {
			n++
		}
		return n
	}
	inBothFamilies(t, func(t *testing.T, family int) {
		a, b := l.a.Addr(family), l.b.Addr(family)
		get := func() FetchResult {
			return l.a.Fetch(t, FetchRequest{URL: url(b, "/"), Session: t.Name(), LocalPort: 45000 + family})
		}
		wantStatus(t, "the first", get(), 200)
		before := streams()
		if before == 0 {
			t.Fatal("nothing is handed from socket to socket")
		}
		l.c.Run(t, "python3", "-c", pretendScript, a.String(), b.String(), fmt.Sprint(45000+family))
		if after := streams(); after != before {
			t.Errorf("%d sockets are known, before c pretended to be others %d", after, before)
		}
		wantStatus(t, "a kept connection", get(), 200)
	})
}

// packets are those that a pod has sent so far.
func packets(p *Pod) (n int) {
	_ = p.ns.do(func() error {
		device, err := netlink.LinkByName("eth0")
		if err == nil {
			n = int(device.Attrs().Statistics.TxPackets)
		}
		return err
	})
	return n
}
