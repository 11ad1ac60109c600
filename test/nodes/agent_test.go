package nodes

import (
	"encoding/json"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/agent/daemon"
	"github.com/waggle-mesh/waggle/internal/ask"
)

// TestAgent: an object leads a Service to Envoy, which speaks in the client's
// name; before its listener is there, and after it has gone, the Service's
// backends answer, and nobody is refused.
func TestAgent(t *testing.T) {
	n, a, _, b := agentLab(t)
	n.eventually("the Service answers", func() bool { return a.Get(t, url(web4, "/")).Status == 200 })
	load := a.StartLoad(t, LoadRequest{Name: "new connections", URL: url(web4, "/"), Connect: true, Clients: 2, Rate: 100})
	n.apply(webConfig)
	time.Sleep(300 * time.Millisecond) // no Envoy is there yet
	n.startEnvoy()
	n.byEnvoy(a)
	inBothFamilies(t, func(t *testing.T, family int) {
		for range 4 {
			r := a.Get(t, url(pick(family, web4, web6), "/"))
			wantStatus(t, "a to the Service", r, 200)
			if p := peerOf(r); p.Addr() != a.Addr(family) || p.Port() < 61000 || p.Port() > 64999 {
				t.Errorf("b saw %s, want %s with a reserved port", p, a.Addr(family))
			}
		}
		r := n.Get(t, url(pick(family, web4, web6), "/"))
		wantStatus(t, "the node to the Service", r, 200)
		r = b.Get(t, url(pick(family, web4, web6), "/"))
		wantStatus(t, "b to its own Service", r, 200)
	})
	n.eventually("the agent says what Envoy has answered", func() bool {
		said := n.api.Get("/apis/waggle.io/v1alpha1/envoynodes/" + n.Name)
		text, _ := json.Marshal(said["configs"])
		return string(text) == `[{"generation":1,"name":"web","namespace":"default"}]`
	})
	n.delete("CiliumEnvoyConfig", "web")
	n.eventually("requests go to the backend again", func() bool {
		return a.Get(t, url(web4, "/")).Echo.Header.Get("X-By") == ""
	})
	r := load.Stop(t)
	t.Log(r)
	if len(r.Failed) > 0 {
		t.Errorf("%d requests failed, the first: %+v", len(r.Failed), r.Failed[0])
	}
}

// TestConfigReturns: an object that is there again before Envoy has lost its
// listener leads to it again.
func TestConfigReturns(t *testing.T) {
	n, a, _, _ := agentLab(t)
	n.apply(webConfig)
	n.startEnvoy()
	n.byEnvoy(a)
	for i := range 10 {
		n.delete("CiliumEnvoyConfig", "web")
		time.Sleep(time.Duration(i) * time.Millisecond) // however far it has got
		n.apply(webConfig)
		n.eventually("requests go through Envoy again", func() bool {
			return a.Get(n.t, url(web4, "/")).Echo.Header.Get("X-By") == "envoy"
		})
	}
}

// agentLoads is kept and new connections, in both families.
func agentLoads(t *testing.T, a, c *Pod) []*Load {
	return []*Load{
		a.StartLoad(t, LoadRequest{Name: "keep-alive POST, IPv4", URL: url(web4, "/"), Method: "POST", Clients: 4, Rate: 100}),
		a.StartLoad(t, LoadRequest{Name: "keep-alive GET, IPv6", URL: url(web6, "/"), Clients: 2, Rate: 50}),
		c.StartLoad(t, LoadRequest{Name: "new connections, IPv4", URL: url(web4, "/"), Method: "POST", Connect: true, Clients: 2, Rate: 50}),
		c.StartLoad(t, LoadRequest{Name: "new connections, IPv6", URL: url(web6, "/"), Method: "POST", Connect: true, Clients: 2, Rate: 50}),
		c.StartLoad(t, LoadRequest{Name: "slow", URL: url(web4, "/?sleep=800ms"), Method: "POST", Clients: 2, Rate: 2}),
	}
}

func stopLoads(t *testing.T, loads []*Load) (failed []Failure) {
	requests := 0
	for _, load := range loads {
		r := load.Stop(t)
		t.Log(r)
		requests += r.Requests
		failed = append(failed, r.Failed...)
	}
	t.Logf("%d requests, %d failed", requests, len(failed))
	return failed
}

// TestAgentRestarts: agents come and go under load, told to or killed, and no
// request fails, though at first the API server lets them read little, as one
// does that has just begun; Envoy drains no listener.
func TestAgentRestarts(t *testing.T) {
	n, a, c, _ := agentLab(t)
	n.apply(webConfig)
	n.startEnvoy()
	n.byEnvoy(a)
	loads := agentLoads(t, a, c)
	for _, with := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGKILL} {
		n.stopAgent(with)
		n.api.Refuse(forbidden("ciliumenvoyconfigs"))
		known := time.AfterFunc(time.Second, func() { n.api.Refuse(nil) })
		n.startAgent()
		if known.Stop() {
			t.Error("the agent was ready before it had read everything")
		}
		n.eventually("Envoy is connected again", func() bool { return len(n.status().Envoys) == 1 })
	}
	r := a.Get(t, url(web4, "/"))
	wantStatus(t, "a to the Service", r, 200)
	if r.Echo.Header.Get("X-By") != "envoy" {
		t.Error("requests no longer go through Envoy")
	}
	if failed := stopLoads(t, loads); len(failed) > 0 {
		t.Errorf("the first failure: %+v", failed[0])
	}
	// and what is new arrives
	n.delete("CiliumEnvoyConfig", "web")
	n.eventually("the backend answers itself", func() bool { return a.Get(t, url(web4, "/")).Echo.Header.Get("X-By") == "" })
}

// TestAgentResizes: agents with maps of other sizes come under load: connections
// are in other maps, rows are filled anew, and no request fails.
func TestAgentResizes(t *testing.T) {
	n, a, c, _ := agentLab(t)
	n.apply(webConfig)
	n.startEnvoy()
	n.byEnvoy(a)
	loads := agentLoads(t, a, c)
	for _, flags := range [][]string{{"--bpf-ct-max", "65536"}, {"--bpf-ct-max", "131072", "--bpf-lb-map-max", "1000"}, {"--bpf-lb-map-max", "2000"}} {
		n.flags = flags
		n.stopAgent(syscall.SIGTERM)
		n.startAgent()
		n.eventually("Envoy is connected again", func() bool { return len(n.status().Envoys) == 1 })
	}
	if failed := stopLoads(t, loads); len(failed) > 0 {
		t.Errorf("the first failure: %+v", failed[0])
	}
	n.byEnvoy(a)
}

func (n *agentNode) status() *daemon.Status {
	n.t.Helper()
	s := &daemon.Status{}
	n.must("ask the agent", ask.Get(n.t.Context(), daemon.Socket(n.stateDir()), "/status", s))
	return s
}

// TestEndpointsReachEnvoy within 50 ms, none at once too.
func TestEndpointsReachEnvoy(t *testing.T) {
	n, a, c, b := agentLab(t)
	n.apply(webConfig)
	n.startEnvoy()
	n.byEnvoy(a)
	c.Serve(t, ServeRequest{Address: ":80"})
	var took []time.Duration
	get := func() FetchResult { return a.Fetch(t, FetchRequest{URL: url(web4, "/"), Session: "kept"}) }
	for range 5 {
		for _, server := range []*Pod{c, b} {
			changed := time.Now()
			n.service("web", web4, web6, 80, server)
			n.eventually("the other backend answers", func() bool { return get().Echo.Server == server.Name })
			took = append(took, time.Since(changed))
		}
	}
	changed := time.Now()
	n.service("web", web4, web6, 80)
	n.eventually("503", func() bool { return get().Status == 503 })
	t.Logf("none left: 503 after %v", time.Since(changed))
	slices.Sort(took)
	t.Logf("a change reached requests after %v", took)
	if median := took[len(took)/2]; median > 50*time.Millisecond {
		t.Errorf("the median is %v, want at most 50 ms", median)
	}
}
