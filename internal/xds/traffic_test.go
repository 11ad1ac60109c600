package xds_test

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/model"
)

// served starts an Envoy with one listener, whose table leads to service svc/0.
func served(t *testing.T) (p *proxy, port, first, second int) {
	first, second = backend(t, "first"), backend(t, "second")
	port = freePort(t)
	p = startProxy(t, append(service(t, "svc/0", first), table(t, "main", to("svc/0")), listener(t, "l/main", port, "main"))...)
	p.await(model.Accepted, key(model.EnvoyListener, "l/main"), key(model.RouteConfiguration, "main"))
	awaitBody(t, port, "first")
	return p, port, first, second
}

func gone(name string) []model.ResourceKey {
	return []model.ResourceKey{key(model.Cluster, name), key(model.ClusterLoadAssignment, name)}
}

// The table moves to a new cluster while the old one goes, all in one Update.
func TestRouteFlipsBetweenNewClusters(t *testing.T) {
	p, port, first, second := served(t)
	l := startLoad(t, port)
	for i := range 30 {
		backends := []int{second, first}
		p.update(append(service(t, name("svc", i+1), backends[i%2]), table(t, "main", to(name("svc", i+1)))), gone(name("svc", i))...)
		l.after(40)
	}
	seen := l.end()
	if seen["first"] == 0 || seen["second"] == 0 {
		t.Errorf("bodies %v, want both backends", seen)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		clusters := p.stats(`^cluster_manager\.active_clusters$`)["cluster_manager.active_clusters"]
		if clusters == 2 { // the last, and that of xDS
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v clusters are left", clusters)
		}
	}
}

// The cluster in use changes: Envoy makes it anew and asks for no endpoints.
func TestClusterChangedInPlace(t *testing.T) {
	p, port, _, _ := served(t)
	l := startLoad(t, port)
	var took []time.Duration
	for i := range 20 {
		from := time.Now()
		p.update([]model.Resource{cluster(t, "svc/0", time.Duration(i+2)*time.Second)})
		took = append(took, time.Since(from))
		// Without its endpoints sent again a cluster waits for 15 s, and our
		// own wait would end after 2 s.
		if took[i] > 1500*time.Millisecond {
			t.Errorf("a changed cluster was accepted after %v", took[i])
			break
		}
		l.after(40)
	}
	l.end()
	t.Logf("accepted after %v (median)", slices.Sorted(slices.Values(took))[len(took)/2])
}

// A worker thread makes its part of a cluster for the first request to it, of
// what the cluster has become by then.
func TestClusterChangesBeforeItsFirstRequest(t *testing.T) {
	p, port, _, second := served(t)
	stale := backend(t, "stale")
	l := startLoad(t, port)
	for i := range 10 {
		late := name("late", i)
		p.update(service(t, late, stale))
		p.update([]model.Resource{cluster(t, late, 3*time.Second)})
		p.update([]model.Resource{endpoints(t, late, "127.0.0.1", second)})
		p.update([]model.Resource{table(t, "main", to(late))})
		l.after(40)
		p.update([]model.Resource{table(t, "main", to("svc/0"))}, gone(late)...)
		l.after(40)
	}
	if seen := l.end(); seen["second"] == 0 || seen["stale"] > 0 {
		t.Errorf("bodies %v, want the second backend and not what it has replaced", seen)
	}
}

func TestListenersComeAndGo(t *testing.T) {
	p, port, _, second := served(t)
	l := startLoad(t, port)
	other := freePort(t)
	for i := range 15 {
		n := name("other", i)
		p.update(append(service(t, n, second), listener(t, "l/other", other, n)), gone(name("other", i-1))...)
		p.update([]model.Resource{table(t, n, to(n))})
		awaitBody(t, other, "second")
		p.update(nil, key(model.EnvoyListener, "l/other"), key(model.RouteConfiguration, n))
		l.after(40)
	}
	l.end()
}

// The endpoints move, and the old backend goes away at once.
func TestEndpointsSwap(t *testing.T) {
	p, port, first, second := served(t)
	l := startLoad(t, port)
	for i := range 20 {
		p.update([]model.Resource{endpoints(t, "svc/0", "127.0.0.1", []int{second, first}[i%2])})
		l.after(40)
	}
	seen := l.end()
	if seen["first"] == 0 || seen["second"] == 0 {
		t.Errorf("bodies %v, want both backends", seen)
	}
}

// A control plane that is killed and started again sends nothing that Envoy
// has, and what changed meanwhile arrives.
func TestControlPlaneRestart(t *testing.T) {
	p, port, first, second := served(t)
	state := append(service(t, "svc/0", first), table(t, "main", to("svc/0")), listener(t, "l/main", port, "main"))
	const updates = `(update_success|cluster_modified|cluster_added|listener_modified|listener_added|listener_create_success)$`
	before := p.stats(updates)
	l := startLoad(t, port)
	for range 3 {
		p.stop()
		l.after(100)
		p.startServer(state...)
		for _, r := range state {
			p.await(model.Accepted, r.ResourceKey)
		}
		l.after(100)
	}
	after := p.stats(updates)
	for name, n := range before {
		if after[name] != n && name != "cluster.xds.update_success" {
			t.Errorf("Envoy's %s went from %v to %v", name, n, after[name])
		}
	}
	if len(before) < 5 {
		t.Errorf("only %v is counted", before)
	}

	p.stop()
	p.startServer(append(service(t, "svc/1", second), table(t, "main", to("svc/1")), listener(t, "l/main", port, "main"))...)
	awaitBody(t, port, "second")
	l.end()
}

// A listener's port is taken, and becomes free.
func TestListenerWaitsForItsPort(t *testing.T) {
	p, port, _, _ := served(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	other := taken.Addr().(*net.TCPAddr).Port
	l := startLoad(t, port)
	p.server.Update([]model.Resource{listener(t, "l/other", other, "main")}, nil)
	o := p.await(model.Rejected, key(model.EnvoyListener, "l/other"))
	t.Logf("message: %s", o.Message)
	taken.Close()
	p.await(model.Accepted, key(model.EnvoyListener, "l/other"))
	awaitBody(t, other, "first")
	l.end()
}

// One small table per host, found through scoped routes.
func TestScopedRoutes(t *testing.T) {
	first, second := backend(t, "first"), backend(t, "second")
	port := freePort(t)
	authority := fmt.Sprintf("127.0.0.1:%d", port)
	p := startProxy(t, append(service(t, "svc/0", first), table(t, "t/a", to("svc/0")), scope(t, "a", authority, "t/a"), scopedListener(t, "l/scoped", port))...)
	awaitBody(t, port, "first")
	l := startLoad(t, port)
	for i := range 10 {
		// The host moves to a new cluster; another host comes and goes.
		other, leaving := name("other", i), name("other", i-1)
		change := append(service(t, name("svc", i+1), []int{second, first}[i%2]), table(t, "t/a", to(name("svc", i+1))), scope(t, other, other, other))
		p.update(change, append(gone(name("svc", i)), key(model.ScopedRoute, leaving), key(model.RouteConfiguration, leaving))...)
		p.update([]model.Resource{table(t, other, to(name("svc", i+1)))})
		l.after(40)
	}
	seen := l.end()
	if seen["first"] == 0 || seen["second"] == 0 {
		t.Errorf("bodies %v, want both backends", seen)
	}
	p.await(model.Accepted, key(model.EnvoyListener, "l/scoped"), key(model.ScopedRoute, "a"))
	// Two scopes with one key: the second is refused, and the first serves.
	p.server.Update([]model.Resource{scope(t, "b", authority, "t/a"), scope(t, "c", "c.example", "t/a")}, nil)
	p.await(model.Rejected, key(model.ScopedRoute, "b"))
	p.await(model.Accepted, key(model.ScopedRoute, "c"))
	awaitBody(t, port, "first")
}
