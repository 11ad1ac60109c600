package nodes

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
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
		l.n1.destroy(1, func(local, remote netip.AddrPort) bool {
			return local.Addr() == l.a.Addr(family) && remote == netip.AddrPortFrom(b, 80)
		})
		wantStatus(t, "after it was taken back", get(), 403)
		l.n1.noVerdict(idB, ingress, idA, 80)
	})
}

// packets are those that a pod has sent so far.
func packets(p *Pod) (n int) {
	_ = p.Node.ns.do(func() error {
		device, err := netlink.LinkByIndex(p.Index)
		if err == nil {
			n = int(device.Attrs().Statistics.RxPackets)
		}
		return err
	})
	return n
}
