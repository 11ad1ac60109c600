package daemon

import (
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/agent/proxy"
	"github.com/waggle-mesh/waggle/internal/datapath/redirect"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/link"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/reconcile"
)

// TestStanding: both legs of the connections that a verdict was about are
// found, and no others.
func TestStanding(t *testing.T) {
	identities := map[netip.Prefix]model.Identity{
		netip.MustParsePrefix("10.1.0.5/32"): 1001, netip.MustParsePrefix("10.1.0.6/32"): 1002,
		netip.MustParsePrefix("10.1.0.2/32"): model.IdentityIngress, netip.MustParsePrefix("10.1.0.0/24"): 1002,
	}
	pod := []netip.Addr{netip.MustParseAddr("10.1.0.5"), netip.MustParseAddr("fd01::5")}
	ingress := model.Verdict{Direction: model.Ingress, Identity: 1002, Port: 80, Protocol: model.TCP}
	egress := model.Verdict{Direction: model.Egress, Identity: 1002, Port: 80, Protocol: model.TCP}
	gateway := model.Verdict{Direction: model.Ingress, Identity: model.IdentityIngress}
	anybody := model.Verdict{Direction: model.Ingress, Port: 80}
	for _, c := range []struct {
		what          string
		verdict       model.Verdict
		local, remote string
		want          bool
	}{
		{"Envoy to the pod, for the peer", ingress, "10.1.0.6:61000", "10.1.0.5:80", true},
		{"Envoy to another port", ingress, "10.1.0.6:61000", "10.1.0.5:81", false},
		{"Envoy to the pod, for a Gateway", ingress, "10.1.0.2:61000", "10.1.0.5:80", false},
		{"the peer's connection to the pod's listener", ingress, "10.1.0.5:80", "10.1.0.6:40000", true},
		{"the pod's own connection to the peer", ingress, "10.1.0.6:80", "10.1.0.5:40000", false},
		{"a Gateway's, any port", gateway, "10.1.0.2:40000", "10.1.0.5:8080", true},
		{"a Gateway's to another pod", gateway, "10.1.0.2:40000", "10.1.0.6:8080", false},
		{"anybody's", anybody, "192.0.2.1:1", "10.1.0.5:80", true},
		{"the pod to the peer", egress, "10.1.0.6:80", "10.1.0.5:40000", true},
		{"the pod to somebody of the peer's range", egress, "10.1.0.9:80", "10.1.0.5:40000", true},
		{"the pod to a Service", egress, "10.96.0.1:80", "10.1.0.5:40000", true},
		{"the pod to another identity", egress, "10.1.0.2:80", "10.1.0.5:40000", false},
		{"Envoy to the peer, for the pod", egress, "10.1.0.5:61000", "10.1.0.6:80", true},
		{"Envoy to the peer, for another pod", egress, "10.1.0.7:61000", "10.1.0.6:80", false},
	} {
		s := standing{verdicts: map[netip.Addr][]model.Verdict{}, identities: identities}
		for _, a := range pod {
			s.verdicts[a] = []model.Verdict{c.verdict}
		}
		if got := s.has(connection(c.local, c.remote, 0)); got != c.want {
			t.Errorf("%s (%s to %s): %t, want %t", c.what, c.local, c.remote, got, c.want)
		}
	}
}

func connection(local, remote string, mark uint32) link.Connection {
	return link.Connection{Local: netip.MustParseAddrPort(local), Remote: netip.MustParseAddrPort(remote), Mark: mark}
}

// TestRedirectsStandingOn: only what Envoy took for the frontend is ended, not
// what another process of the node takes at its address since.
func TestRedirectsStandingOn(t *testing.T) {
	s := standing{redirects: map[netip.AddrPort]bool{
		netip.MustParseAddrPort("10.96.0.1:80"): true, netip.MustParseAddrPort("0.0.0.0:30080"): true, netip.MustParseAddrPort("[fd96::1]:80"): true,
	}}
	for _, c := range []struct {
		what, local string
		mark        uint32
		want        bool
	}{
		{"Envoy's, of a Service", "10.96.0.1:80", redirect.MarkListener, true},
		{"Envoy's, of a Service in IPv6", "[fd96::1]:80", redirect.MarkListener, true},
		{"Envoy's, of another port", "10.96.0.1:81", redirect.MarkListener, false},
		{"Envoy's, of a NodePort", "192.0.2.1:30080", redirect.MarkListener, true},
		{"Envoy's, of a NodePort of the other family", "[2001:db8::1]:30080", redirect.MarkListener, false},
		{"a process's that has the NodePort by now", "192.0.2.1:30080", 0, false},
		{"a process's of its own marks", "10.96.0.1:80", 0x80400, false},
	} {
		if got := s.has(connection(c.local, "10.1.0.9:40000", c.mark)); got != c.want {
			t.Errorf("%s: %t, want %t", c.what, got, c.want)
		}
	}
}

// TestRevokedTogether: whatever is taken back in one moment, and whatever while
// connections are being ended, makes the node's sockets be looked at once more.
func TestRevokedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 1000
		var tables flow.Graph
		graph := &agent.NodeGraph{
			PodEndpoints: flow.NewTable(&tables, "endpoints", func(a, b model.PodEndpoint) bool { return false }),
			IPIdentities: flow.NewTable(&tables, "identities", flow.Equal[model.IPIdentity]),
			Frontends:    flow.NewTable(&tables, "frontends", func(a, b model.Frontend) bool { return false }),
		}
		pod := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}) }
		service := func(i int) netip.AddrPort {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)}), 80)
		}
		var sockets []link.Connection
		for i := range many {
			graph.PodEndpoints.Set(model.PodEndpoint{ID: uint16(i), Addresses: []netip.Addr{pod(i)}})
			sockets = append(sockets, link.Connection{Local: service(i), Remote: netip.AddrPortFrom(pod(i), 40000), Mark: redirect.MarkListener})
		}
		if err := tables.Commit(); err != nil {
			t.Fatal(err)
		}
		owner, looked := make(chan func(), 2*many), []int{}
		r := newRevocations(graph, func(f func()) { owner <- f }, func(match func(link.Connection) bool) (int, error) {
			time.Sleep(time.Second)
			left := slices.DeleteFunc(slices.Clone(sockets), match)
			looked, sockets = append(looked, len(sockets)-len(left)), left
			return looked[len(looked)-1], nil
		}, slog.New(slog.DiscardHandler))
		owned := func(d time.Duration) { // the owner's work of that time
			for end := time.After(d); ; {
				select {
				case f := <-owner:
					f()
				case <-end:
					return
				}
			}
		}
		taken := func(from, to int) {
			for i := from; i < to; i++ {
				v := model.Verdict{Endpoint: uint16(i), Direction: model.Egress, Port: 80, Protocol: model.TCP, Action: model.ToProxy}
				r.changed([]flow.Change[model.Verdict]{{Key: v.Key(), Old: v, HadOld: true}})
				r.written(reconcile.Outcome[struct{}]{RowKey: v.Key()})
			}
		}
		for i := range 600 {
			f := model.Frontend{Address: service(i), Redirect: "listener"}
			r.frontendsChanged([]flow.Change[model.Frontend]{{Key: f.Key(), Old: f, HadOld: true}})
		}
		taken(600, 700)
		owned(500 * time.Millisecond) // they are being ended
		taken(700, 900)
		owned(time.Hour)
		taken(900, many)
		owned(time.Hour)
		if want := []int{100, 200, 600, 100}; !slices.Equal(looked, want) || len(sockets) > 0 {
			t.Errorf("connections that were ended, each time that all sockets were looked at: %v, want %v; %d are left", looked, want, len(sockets))
		}
	})
}

// TestRedirectedAgain: connections of a frontend that is led to Envoy again, and
// then no more, have as long as those of the first time.
func TestRedirectedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tables flow.Graph
		graph := &agent.NodeGraph{Frontends: flow.NewTable(&tables, "frontends", flow.Equal[model.Frontend])}
		owner, looks := make(chan func()), 0
		r := newRevocations(graph, func(f func()) { owner <- f }, func(func(link.Connection) bool) (int, error) {
			looks++
			return 0, nil
		}, slog.New(slog.DiscardHandler))
		graph.Frontends.OnChange(r.frontendsChanged)
		lead := func(listener string, d time.Duration) {
			graph.Frontends.Set(model.Frontend{Address: netip.MustParseAddrPort("10.96.0.1:80"), Redirect: listener})
			if err := tables.Commit(); err != nil {
				t.Fatal(err)
			}
			for end := time.After(d); ; {
				select {
				case f := <-owner:
					f()
					continue
				case <-end:
				}
				break
			}
		}
		lead("listener", time.Second)
		lead("", time.Second)
		lead("listener", proxy.Limit-2*time.Second)
		lead("", proxy.Limit-time.Second)
		if looks != 0 {
			t.Errorf("connections were ended %s after they were led to Envoy", proxy.Limit-time.Second)
		}
		lead("", 2*time.Second)
		if looks != 1 || len(r.left) > 0 {
			t.Errorf("sockets were looked at %d times, want 1; %v is kept", looks, r.left)
		}
	})
}

// TestRevokedOfBefore: the connections of what is taken back are found by what
// their ends were then, whatever they are when the sockets are looked at.
func TestRevokedOfBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tables flow.Graph
		graph := &agent.NodeGraph{
			PodEndpoints: flow.NewTable(&tables, "endpoints", func(a, b model.PodEndpoint) bool { return false }),
			IPIdentities: flow.NewTable(&tables, "identities", flow.Equal[model.IPIdentity]),
		}
		sockets := map[string]link.Connection{
			"relabelled before the verdict went":   connection("10.1.0.1:61000", "10.1.0.5:80", 0),
			"relabelled before the maps had it":    connection("10.1.0.2:61000", "10.1.0.5:80", 0),
			"relabelled before the sockets' turn":  connection("10.1.0.3:61000", "10.1.0.5:80", 0),
			"gone":                                 connection("10.1.0.4:61000", "10.1.0.5:80", 0),
			"relabelled long ago":                  connection("10.1.0.6:61000", "10.1.0.5:80", 0),
			"to the address that the pod has next": connection("10.1.0.3:61000", "10.1.0.9:80", 0),
		}
		owner, ended := make(chan func()), []string(nil)
		r := newRevocations(graph, func(f func()) { owner <- f }, func(match func(link.Connection) bool) (int, error) {
			for what, c := range sockets {
				if match(c) {
					ended = append(ended, what)
				}
			}
			return len(ended), nil
		}, slog.New(slog.DiscardHandler))
		graph.IPIdentities.OnChange(r.identitiesChanged)
		commit := func() {
			if err := tables.Commit(); err != nil {
				t.Fatal(err)
			}
		}
		is := func(identity model.Identity, addresses ...string) {
			for _, a := range addresses {
				graph.IPIdentities.Set(model.IPIdentity{Prefix: single(a), Identity: identity})
			}
			commit()
		}
		const was, becomes = 1002, 1003
		graph.PodEndpoints.Set(model.PodEndpoint{ID: 1, Addresses: []netip.Addr{netip.MustParseAddr("10.1.0.5")}})
		is(was, "10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.6")
		is(becomes, "10.1.0.6")
		time.Sleep(time.Minute)

		is(becomes, "10.1.0.1")
		time.Sleep(together / 2)
		v := model.Verdict{Endpoint: 1, Direction: model.Ingress, Identity: was, Port: 80, Protocol: model.TCP, Action: model.ToProxy}
		r.changed([]flow.Change[model.Verdict]{{Key: v.Key(), Old: v, HadOld: true}})
		time.Sleep(time.Minute) // the maps would not take it
		is(becomes, "10.1.0.2")
		time.Sleep(time.Minute)
		r.written(reconcile.Outcome[struct{}]{RowKey: v.Key()})
		time.Sleep(gathering / 2)
		graph.PodEndpoints.Set(model.PodEndpoint{ID: 1, Addresses: []netip.Addr{netip.MustParseAddr("10.1.0.9")}})
		graph.IPIdentities.Delete(single("10.1.0.4").String())
		is(becomes, "10.1.0.3")
		(<-owner)() // the sockets are looked at
		(<-owner)()
		slices.Sort(ended)
		if want := []string{"gone", "relabelled before the maps had it", "relabelled before the sockets' turn", "relabelled before the verdict went"}; !slices.Equal(ended, want) {
			t.Errorf("connections that were ended: %q, want %q", ended, want)
		}
	})
}

func single(address string) netip.Prefix { return netip.MustParsePrefix(address + "/32") }
