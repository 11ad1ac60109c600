package nodes

import (
	"net/netip"
	"os"
	"testing"

	"github.com/waggle-mesh/waggle/internal/link"
)

// TestNodeToRedirectedService: a process of the node finds Envoy, believes to
// talk to the Service, and is known by the node's address, also to another
// process of the node.
func TestNodeToRedirectedService(t *testing.T) {
	l := redirectedLab(t)
	l.Nodes[0].Serve(t, ServeRequest{Address: ":80"})
	inBothFamilies(t, func(t *testing.T, family int) {
		seen := map[string]bool{}
		for range 8 {
			r := l.Nodes[0].Get(t, url(pick(family, vip4, vip6), "/"))
			wantStatus(t, "node to the Service", r, 200)
			seen[r.Echo.Server] = true
			if p := peerOf(r).Addr(); p != l.n1.Addr(family) {
				t.Errorf("%s saw %s, want the node", r.Echo.Server, p)
			}
		}
		if len(seen) != 2 {
			t.Errorf("requests went to %v, want b and d", seen)
		}
		r := l.Nodes[0].Get(t, url(pick(family, vip4, vip6), "/node"))
		wantStatus(t, "node to itself", r, 200)
		if p := peerOf(r).Addr(); p != l.n1.Addr(family) {
			t.Errorf("the node saw %s, want its own address", p)
		}
	})
}

// TestNodeToPodWithRules: the node may always talk to its own pods.
func TestNodeToPodWithRules(t *testing.T) {
	l := redirectedLab(t)
	l.n1.verdict(idB, ingress, 0, 80, toProxy, kJudged)
	inBothFamilies(t, func(t *testing.T, family int) {
		wantStatus(t, "a probe", l.Nodes[0].Get(t, url(l.b.Addr(family), "/private")), 200)
		wantStatus(t, "a pod", l.c.Get(t, url(l.b.Addr(family), "/private")), 403)
	})
}

// TestEnvoyToService: Envoy's own connection to a ClusterIP gets a backend, and
// is never led to Envoy.
func TestEnvoyToService(t *testing.T) {
	l := redirectedLab(t)
	l.n1.verdict(idA, egress, idB, 80, toProxy, kPlain)
	seen := map[string]bool{}
	for i := range 8 {
		if i == 4 { // also if the Service becomes a redirected one
			at := netip.AddrPortFrom
			l.n1.service(at(plain4, 80), 3, kDenied, at(l.b.Addr4, 80), at(l.d.Addr4, 80))
			clear(seen)
			l.n1.destroy(1, func(c link.Connection) bool { return c.Local.Addr() == l.n1.Ingress4 })
		}
		r := l.a.Get(t, url(l.b.Addr4, "/"))
		wantStatus(t, "a by way of a ClusterIP", r, 200)
		seen[r.Echo.Server] = true
	}
	if len(seen) == 0 || seen[""] {
		t.Errorf("requests went to %v", seen)
	}
}

// TestNodePorts: a listener answers at a port of the node, without a socket of
// its own there.
func TestNodePorts(t *testing.T) {
	l := redirectedLab(t)
	at := netip.AddrPortFrom(netip.IPv4Unspecified(), 9964)
	if taken, err := l.n1.proxy.ListeningPorts(); err != nil || taken[9964] {
		t.Fatalf("9964 is taken: %t, %v", taken[9964], err)
	}
	l.n1.must("set a port of the node", l.n1.proxy.SetNodePort(at, kDenied))
	inBothFamilies(t, func(t *testing.T, family int) {
		target := "http://" + netip.AddrPortFrom(l.n1.Addr(family), 9964).String() + "/"
		wantStatus(t, "client to the node's port", l.Client.Get(t, target), 403)
		wantStatus(t, "pod to the node's port", l.a.Get(t, target), 403)
		wantStatus(t, "the node to its own port", l.Nodes[0].Get(t, target), 403)
	})
	wantStatus(t, "the node to its loopback address", l.Nodes[0].Get(t, "http://127.0.0.1:9964/"), 403)
	l.n1.must("remove it", l.n1.proxy.RemoveNodePort(at))
	if r := l.Client.Dial(t, DialRequest{Address: netip.AddrPortFrom(l.n1.Addr4, 9964).String()}); !r.Refused {
		t.Errorf("after it was removed: %+v", r)
	}
}

// TestHostSocketOnSamePort: a redirected connection never ends at a process of
// the node that listens on the same port, not even when Envoy is away.
func TestHostSocketOnSamePort(t *testing.T) {
	l, e := n1Lab(t)
	l.Nodes[0].Serve(t, ServeRequest{Address: ":30080", Name: "stranger"})
	target := "http://" + netip.AddrPortFrom(l.n1.Addr4, nodePort).String() + "/"
	if r := l.Client.Get(t, target); r.Status != 200 || r.Echo.Server == "stranger" {
		t.Errorf("with Envoy: %+v", r)
	}
	e.Process.Kill()
	<-e.gone
	if r := l.Client.Get(t, target); r.Error == "" {
		t.Errorf("without Envoy: %+v", r)
	}
}

// TestRedirectEnds: where a process of the node listens at a port that was
// redirected, a client that comes again from its port gets to that.
func TestRedirectEnds(t *testing.T) {
	l, _ := n1Lab(t)
	l.Client.Run(t, "sh", "-c", "echo 0 > /proc/sys/net/ipv4/tcp_max_tw_buckets") // its port is free at once
	inBothFamilies(t, func(t *testing.T, family int) {
		node := l.n1.Addr(family)
		get := func() FetchResult {
			return l.Client.Fetch(t, FetchRequest{URL: "http://" + netip.AddrPortFrom(node, nodePort).String() + "/", LocalPort: 46000 + family})
		}
		wantStatus(t, "redirected", get(), 200)
		for _, scope := range []uint8{fromOutside, fromTheInside} {
			l.n1.remove("frontends", frontendKey{node.As16(), port(nodePort), tcp, scope})
		}
		l.Nodes[0].Serve(t, ServeRequest{Address: netip.AddrPortFrom(node, nodePort).String(), Name: "process"})
		if r := get(); r.Status != 200 || r.Echo.Server != "process" {
			t.Errorf("after the redirect: %+v", r)
		}
	})
}

// TestAdopted: listeners of an Envoy that was there before the programs are
// found; an agent that has lost all pins finds them, too.
func TestAdopted(t *testing.T) {
	l, e := n1Lab(t)
	redirectAll(l)
	before, err := l.n1.proxy.Listening(10000)
	l.n1.must("list listeners", err)
	l.n1.must("lose all pins", os.RemoveAll(l.n1.BPFFS+"/waggle/links"))
	l.n1.must("lose all maps", os.RemoveAll(l.n1.BPFFS+"/waggle"))
	l.n1.must("close", l.n1.closePath(l.n1.path))
	l.n1.openPath()
	l.n1.loadPods(l)
	l.n1.services(l)
	redirectAll(l)
	cgroup := l.n1.cgroups[10000]
	l.n1.must("attach again", l.n1.ns.do(func() error { _, err := l.n1.proxy.Attach(cgroup); return err }))
	l.n1.must("tell that it is there", l.n1.generations.Arrived(10000, e.Process))
	after, err := l.n1.proxy.Listening(10000)
	l.n1.must("list listeners", err)
	if len(after) != len(before) || len(after) == 0 {
		t.Errorf("listeners before %v, after %v", before, after)
	}
	l.n1.eventually("Envoy is active again", func() bool {
		a, err := l.n1.proxy.Active()
		return err == nil && a.Current == 10000
	})
	inBothFamilies(t, func(t *testing.T, family int) {
		wantStatus(t, "a to b", l.a.Get(t, url(l.b.Addr(family), "/")), 200)
	})
}

// TestRestartOfTheAgent: programs are replaced below a load, and Envoy stays
// served.
func TestRestartOfTheAgent(t *testing.T) {
	l, _ := n1Lab(t)
	redirectAll(l)
	loads := []*Load{
		l.a.StartLoad(t, LoadRequest{Name: "keep-alive", URL: url(l.b.Addr4, "/"), Method: "POST", Clients: 4, Rate: 200}),
		l.a.StartLoad(t, LoadRequest{Name: "new connections", URL: url(l.b.Addr6, "/"), Method: "POST", Connect: true, Clients: 4, Rate: 100}),
	}
	for range 5 {
		l.n1.openPath()
	}
	for _, load := range loads {
		r := load.Stop(t)
		t.Log(r)
		if len(r.Failed) > 0 || r.Requests == 0 {
			t.Fail()
		}
	}
	if g, err := l.n1.proxy.Generations(); err != nil || len(g) != 1 || g[0].Base != 10000 {
		t.Errorf("generations are %+v, %v", g, err)
	}
}

// TestForgotten: conntrack may lose a redirected connection at any time.
func TestForgotten(t *testing.T) {
	l, _ := n1Lab(t)
	redirectAll(l)
	inBothFamilies(t, func(t *testing.T, family int) {
		get := func() FetchResult {
			return l.a.Fetch(t, FetchRequest{URL: url(l.b.Addr(family), "/"), Session: t.Name()})
		}
		wantStatus(t, "before", get(), 200)
		table := l.n1.table("conntrack")
		defer table.Close()
		var key [40]byte
		for table.NextKey(nil, &key) == nil {
			l.n1.must("delete an entry", table.Delete(key))
		}
		r := get()
		wantStatus(t, "after", r, 200)
		if r.Dials != 1 {
			t.Errorf("the client connected %d times", r.Dials)
		}
	})
}

// TestStrangersAreRefused: a process of another cgroup gets no configuration.
func TestStrangersAreRefused(t *testing.T) {
	l := newLab(t)
	l.n1.serve(l)
	e := l.n1.startEnvoyIn("no-proxy")
	l.n1.eventually("it was refused", func() bool {
		text, _ := os.ReadFile(e.dir + "/log")
		return len(text) > 0
	})
	if l.n1.ads.Connected() != 0 {
		t.Error("it has a stream")
	}
}
