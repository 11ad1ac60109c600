package nodes

import (
	"fmt"
	"strings"
	"testing"
)

// TestBalancedService: by an annotation each request of a connection chooses a
// backend, without one the connection has. Commands tell of it.
func TestBalancedService(t *testing.T) {
	n := newAgentNode(t, New(t), "--loadbalancer-l7=envoy")
	n.startAgent()
	client := n.addPod("a")
	var servers []*Pod
	for _, name := range []string{"b", "c"} {
		server := n.addPod(name)
		server.Serve(t, ServeRequest{Address: ":80"})
		servers = append(servers, server)
	}
	n.service("web", web4, web6, 80, servers...)
	n.startEnvoy()
	n.eventually("the Service answers", func() bool { return client.Get(t, url(web4, "/")).Status == 200 })
	met := func(session string) int {
		met := map[string]bool{}
		for range 20 {
			if r := client.Fetch(t, FetchRequest{URL: url(web4, "/"), Session: session}); r.Status == 200 {
				met[r.Echo.Server] = true
			}
		}
		return len(met)
	}
	if met("plain") != 1 {
		t.Error("without the annotation one connection meets both backends")
	}
	path := n.path("Service", "web")
	o := n.api.Get(path)
	o["metadata"].(map[string]any)["annotations"] = map[string]any{"service.cilium.io/lb-l7": "enabled", "service.cilium.io/lb-l7-algorithm": "random"}
	n.api.Put(path, o)
	tries := 0
	n.eventually("one connection meets both backends", func() bool {
		tries++
		return met(fmt.Sprint("balanced", tries)) == 2
	})
	for _, c := range []struct{ command, want string }{
		{"cec list", "Service default/web:lb-l7"},
		{"cec show default/web:lb-l7", "listener: default/web:lb-l7/80"},
		{"cec explain default/web", servers[0].Addr4.String()},
		{"envoy clusters", "default/web:lb-l7/80::added_via_api::true"},
		{"envoy listeners", "default/web:lb-l7/80::"},
		{"envoy stats --filter upstream_rq_total", "lb-l7/80.upstream_rq_total: "},
		{"envoy config", "type.googleapis.com/envoy.admin.v3.ClustersConfigDump"},
	} {
		out, err := n.command(append(strings.Fields(c.command), "--state-dir", n.stateDir())...)
		if err != nil || !strings.Contains(out, c.want) {
			t.Errorf("waggle %s: %v, no %q in\n%.2000s", c.command, err, c.want, out)
		}
	}
	if out, err := n.command("cec", "explain", "default/none", "--state-dir", n.stateDir()); err == nil {
		t.Errorf("a Service that is not led: %s", out)
	}
}
