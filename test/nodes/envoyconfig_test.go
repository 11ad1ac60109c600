package nodes

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
	"sigs.k8s.io/yaml"
)

// configLab is a node with a client, and the Services web, web-v1 and web-v2,
// the first of which has the backends of both others.
func configLab(t *testing.T) (n *agentNode, client *Pod) {
	n = newAgentNode(t, New(t))
	n.startAgent()
	client = n.addPod("a")
	v1, v2 := n.addPod("v1"), n.addPod("v2")
	v1.Serve(t, ServeRequest{Address: ":80"})
	v2.Serve(t, ServeRequest{Address: ":80"})
	address := func(i int) (netip.Addr, netip.Addr) {
		return netip.MustParseAddr(fmt.Sprintf("10.96.1.%d", i)), netip.MustParseAddr(fmt.Sprintf("fd96::1:%d", i))
	}
	for i, s := range []struct {
		name     string
		backends []*Pod
	}{{"web", []*Pod{v1, v2}}, {"web-v1", []*Pod{v1}}, {"web-v2", []*Pod{v2}}} {
		v4, v6 := address(i + 1)
		n.service(s.name, v4, v6, 80, s.backends...)
	}
	n.startEnvoy()
	n.eventually("the Service answers", func() bool { return client.Get(t, url(web4, "/")).Status == 200 })
	return n, client
}

// example applies an object of examples/envoyconfig, with changes to its text,
// and gives its name.
func (n *agentNode) example(name string, replace ...string) (path string) {
	n.t.Helper()
	return n.config(n.readExample(name, replace...))
}

func (n *agentNode) readExample(name string, replace ...string) kubetest.Object {
	n.t.Helper()
	text, err := os.ReadFile("../../examples/envoyconfig/" + name + ".yaml")
	n.must("read an example", err)
	return object(n.t, strings.NewReplacer(replace...).Replace(string(text)))
}

// config applies an object of one of the two kinds, and gives its path.
func (n *agentNode) config(o kubetest.Object) (path string) {
	name := kubetest.Meta(o)["name"].(string)
	path = n.path("CiliumEnvoyConfig", name)
	if o["kind"] == "CiliumClusterwideEnvoyConfig" {
		path = "/apis/cilium.io/v2/ciliumclusterwideenvoyconfigs/" + name
	}
	n.api.Put(path, o)
	return path
}

// answered waits until Envoy has answered a generation of an object.
func (n *agentNode) answered(path string, generation int) {
	n.t.Helper()
	name := path[strings.LastIndexByte(path, '/')+1:]
	n.eventually(fmt.Sprintf("Envoy has answered generation %d of %s", generation, name), func() bool {
		configs, _ := n.api.Get("/apis/waggle.io/v1alpha1/envoynodes/" + n.Name)["configs"].([]any)
		for _, c := range configs {
			c := c.(map[string]any)
			if c["name"] == name && fmt.Sprint(c["generation"]) == fmt.Sprint(generation) {
				return true
			}
		}
		return false
	})
}

// quietly removes an object under load, and tells of each request that failed
// since the load began.
func (n *agentNode) quietly(load *Load, path string) {
	n.t.Helper()
	n.api.Remove(path)
	time.Sleep(500 * time.Millisecond) // requests go on
	r := load.Stop(n.t)
	n.t.Log(r)
	if len(r.Failed) > 0 {
		n.t.Errorf("%s: %d requests failed, the first: %+v", path, len(r.Failed), r.Failed[0])
	}
}

func servers(t *testing.T, client *Pod, url string, number int) map[string]int {
	got := map[string]int{}
	for range number {
		r := client.Get(t, url)
		if r.Status != 200 {
			t.Fatalf("%s: %d %s", url, r.Status, r.Error)
		}
		got[r.Echo.Server]++
	}
	return got
}

// TestCanary: shares are as written, an edit moves them, a broken edit changes
// nothing, nor does an agent that begins after it, and all that under load
// without a failed request.
func TestCanary(t *testing.T) {
	n, client := configLab(t)
	if got := servers(t, client, url(web4, "/"), 100); got["v1"] < 20 || got["v2"] < 20 {
		t.Errorf("without an object: %v", got)
	}
	load := client.StartLoad(t, LoadRequest{Name: "new connections", URL: url(web4, "/"), Connect: true, Clients: 2, Rate: 100})
	path := n.example("canary")
	n.answered(path, 1)
	if got := servers(t, client, url(web4, "/"), 400); got["v2"] < 20 || got["v2"] > 60 {
		t.Errorf("90 to 10: %v of 400", got)
	}
	n.example("canary", "weight: 90", "weight: 0", "weight: 10", "weight: 100")
	n.answered(path, 2)
	if got := servers(t, client, url(web6, "/"), 50); got["v2"] != 50 {
		t.Errorf("0 to 100: %v of 50", got)
	}
	n.example("canary", "cluster:", "clustr:", "weighted_clusters", "wieghted_clusters")
	time.Sleep(500 * time.Millisecond)
	if got := servers(t, client, url(web4, "/"), 50); got["v2"] != 50 {
		t.Errorf("after a broken edit: %v of 50", got)
	}
	for _, old := range []bool{false, true} {
		n.stopAgent(syscall.SIGKILL)
		if old {
			n.must("keep it where older versions do", os.Rename(filepath.Join(n.lastingDir(), "configs"), filepath.Join(n.stateDir(), "configs")))
		}
		n.startAgent()
		n.eventually("Envoy is connected again", func() bool { return len(n.status().Envoys) == 1 })
		time.Sleep(500 * time.Millisecond)
		if got := servers(t, client, url(web4, "/"), 50); got["v2"] != 50 {
			t.Errorf("after a broken edit, by another agent, the one before an older version %t: %v of 50", old, got)
		}
	}
	n.quietly(load, path)
	n.eventually("both backends answer again", func() bool {
		got := servers(t, client, url(web4, "/"), 40)
		return got["v1"] > 0 && got["v2"] > 0
	})
}

// TestRewrite: paths arrive as the routes say.
func TestRewrite(t *testing.T) {
	n, client := configLab(t)
	path := n.example("rewrite")
	n.answered(path, 1)
	for asked, want := range map[string]string{"/foo/bar": "/", "/api/x": "/x", "/other": "/other"} {
		if r := client.Get(t, url(web4, asked)); r.Echo.Path != want || r.Echo.Server != "v1" {
			t.Errorf("%s arrives as %q at %s: %d %s", asked, r.Echo.Path, r.Echo.Server, r.Status, r.Error)
		}
	}
}

// TestRateLimit: two requests pass and no more, until the bucket is filled
// again; other Services are untouched.
func TestRateLimit(t *testing.T) {
	n, client := configLab(t)
	path := n.example("rate-limit")
	n.answered(path, 1)
	passed, limited := 0, 0
	for range 5 {
		switch r := client.Get(t, url(web4, "/")); {
		case r.Status == 200:
			passed++
		case r.Status == 429 && r.Header.Get("X-Local-Rate-Limit") == "true" && strings.TrimSpace(r.Body) == "local_rate_limited":
			limited++
		default:
			t.Errorf("%d %s %q", r.Status, r.Error, r.Body)
		}
	}
	if passed != 2 || limited != 3 {
		t.Errorf("%d passed, %d were limited", passed, limited)
	}
	out, err := n.command("envoy", "stats", "--filter", "http_local_rate_limit", "--state-dir", n.stateDir())
	for name, want := range map[string]int{"enabled": 5, "enforced": 3, "ok": 2, "rate_limited": 3} {
		if line := fmt.Sprintf(".http_local_rate_limit.%s: %d\n", name, want); err != nil || !strings.Contains(out, line) {
			t.Errorf("Envoy's counters: no %q in\n%s%v", line, out, err)
		}
	}
	servers(t, client, "http://10.96.1.2/", 10)
	n.eventually("requests pass again", func() bool { return client.Get(t, url(web4, "/")).Status == 200 })
}

// TestCircuitBreaker: with one client all is well, with several some requests
// are refused at once.
func TestCircuitBreaker(t *testing.T) {
	n, client := configLab(t)
	path := n.example("circuit-breaker")
	n.answered(path, 1)
	servers(t, client, url(web4, "/?sleep=5ms"), 30)
	load := client.StartLoad(t, LoadRequest{Name: "many at once", URL: url(web4, "/?sleep=20ms"), Connect: true, Clients: 6, Rate: 200})
	time.Sleep(2 * time.Second)
	r := load.Stop(t)
	t.Log(r)
	if broken := len(r.Failed); broken == 0 || broken == r.Requests {
		t.Errorf("%d of %d requests were refused", broken, r.Requests)
	}
}

// TestEnvoyAdmin: a clusterwide object opens Envoy's administration and metrics
// at addresses of the node, a namespaced one with the same does not.
func TestEnvoyAdmin(t *testing.T) {
	n, client := configLab(t)
	n.example("admin", "CiliumClusterwideEnvoyConfig", "CiliumEnvoyConfig", "{name: envoy-admin}", "{name: tenant, namespace: default}")
	time.Sleep(500 * time.Millisecond)
	if r := client.Get(t, fmt.Sprintf("http://%s/", netip.AddrPortFrom(n.Addr4, 9901))); r.Error == "" {
		t.Errorf("a tenant has opened Envoy's administration: %d", r.Status)
	}
	path := n.example("admin")
	n.answered(path, 1)
	for _, address := range []netip.Addr{n.Addr4, n.Addr6} {
		for at, want := range map[string]string{":9901/config_dump": "ListenersConfigDump", ":9901/ready": "LIVE", ":9090/metrics": "# TYPE envoy_"} {
			host := address.String()
			if address.Is6() {
				host = "[" + host + "]"
			}
			if r := client.Get(t, "http://"+host+at); r.Status != 200 || !strings.Contains(r.Body, want) {
				t.Errorf("%s%s: %d %s", host, at, r.Status, r.Error)
			}
		}
	}
	if r := client.Get(t, fmt.Sprintf("http://%s/config_dump", netip.AddrPortFrom(n.Addr4, 9090))); r.Status != 404 {
		t.Errorf("more than the metrics is at the metrics' port: %d", r.Status)
	}
	n.api.Remove(path)
	n.eventually("the port is closed", func() bool {
		return client.Get(t, fmt.Sprintf("http://%s/", netip.AddrPortFrom(n.Addr4, 9901))).Error != ""
	})
}

func object(t *testing.T, text string) (o kubetest.Object) {
	if err := yaml.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	return o
}
