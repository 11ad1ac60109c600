package nodes

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
)

// TestConfigSemantics: what an object means where it is easily meant
// otherwise.
func TestConfigSemantics(t *testing.T) {
	n, client := configLab(t)
	for _, c := range []struct {
		name string
		test func(*agentNode, *testing.T, *Pod)
	}{
		{"selected nodes", (*agentNode).selectedNodes}, {"headless backends", (*agentNode).headlessBackends},
		{"terminating backends", (*agentNode).terminatingBackends}, {"last good version", (*agentNode).lastGoodVersion},
	} {
		n.subtest(t, c.name, func(t *testing.T) { c.test(n, t, client) })
	}
}

// all leads all requests of example canary to one of its Services.
func all(service string) (replace []string) {
	if service == "web-v1" {
		return []string{"weight: 90", "weight: 100", "weight: 10", "weight: 0"}
	}
	return []string{"weight: 90", "weight: 0", "weight: 10", "weight: 100"}
}

// meets waits until all of some requests are answered by one server.
func (n *agentNode) meets(t *testing.T, client *Pod, server string) {
	t.Helper()
	n.eventually("only "+server+" answers", func() bool {
		got := map[string]int{}
		for range 20 {
			got[client.Get(t, url(web4, "/")).Echo.Server]++
		}
		return got[server] == 20
	})
}

// selectedNodes: an object counts where the node's labels say so, from when
// they do until they do not.
func (n *agentNode) selectedNodes(t *testing.T, client *Pod) {
	o := n.readExample("canary", all("web-v2")...)
	o["spec"].(kubetest.Object)["nodeSelector"] = kubetest.Object{"matchLabels": kubetest.Object{"edge": "yes"}}
	path := n.config(o)
	defer n.api.Remove(path)
	// Of two objects the one that is served has been read last.
	n.answered(n.config(n.readExample("rewrite", "{name: web}", "{name: web-v1}")), 1)
	defer n.api.Remove("/apis/cilium.io/v2/namespaces/default/ciliumenvoyconfigs/rewrite")
	if got := servers(t, client, url(web4, "/"), 40); got["v1"] == 0 {
		t.Errorf("on a node that is not selected all requests go to web-v2: %v", got)
	}
	n.label(map[string]any{"edge": "yes"})
	n.answered(path, 1)
	n.meets(t, client, "v2")
	n.label(nil)
	n.eventually("both backends answer again", func() bool { return servers(t, client, url(web4, "/"), 40)["v1"] > 0 })
}

// label gives the node other labels.
func (n *agentNode) label(labels map[string]any) {
	path := n.path("Node", n.Name)
	o := object(n.t, fmt.Sprintf("{metadata: {name: %s}}", n.Name))
	for key, value := range n.api.Get(path) {
		if key != "metadata" {
			o[key] = value
		}
	}
	kubetest.Meta(o)["labels"] = labels
	n.api.Put(path, o)
}

// headlessBackends: a Service without an address has endpoints all the same.
func (n *agentNode) headlessBackends(t *testing.T, client *Pod) {
	n.apply(`
apiVersion: v1
kind: Service
metadata: {name: hidden}
spec: {clusterIP: None, clusterIPs: [None], type: ClusterIP, ports: [{name: http, port: 80, protocol: TCP}]}`)
	n.backends("hidden", map[string]string{"v2": "{ready: true}"})
	path := n.example("canary", append(all("web-v1"), "web-v1", "hidden")...)
	defer n.api.Remove(path)
	n.answered(path, 1)
	n.meets(t, client, "v2")
}

// terminatingBackends are used while there is no other.
func (n *agentNode) terminatingBackends(t *testing.T, client *Pod) {
	path := n.example("canary", all("web-v1")...)
	defer n.api.Remove(path)
	defer n.backends("web-v1", map[string]string{"v1": "{ready: true}"})
	const ending = "{ready: false, serving: true, terminating: true}"
	n.answered(path, 1)
	n.backends("web-v1", map[string]string{"v1": ending, "v2": "{ready: true}"})
	n.meets(t, client, "v2")
	n.backends("web-v1", map[string]string{"v1": ending})
	n.meets(t, client, "v1")
}

// lastGoodVersion: what Envoy rejects changes nothing, neither of the object nor
// of others; and the object is right again when it is mended.
func (n *agentNode) lastGoodVersion(t *testing.T, client *Pod) {
	path := n.example("canary", all("web-v1")...)
	defer n.api.Remove(path)
	n.answered(path, 1)
	n.meets(t, client, "v1")
	bad := n.readExample("canary", all("web-v2")...)
	for _, r := range bad["spec"].(kubetest.Object)["resources"].([]any) {
		if r := r.(kubetest.Object); strings.HasSuffix(r["@type"].(string), ".RouteConfiguration") {
			r["request_headers_to_add"] = []any{kubetest.Object{"header": kubetest.Object{"key": ":path", "value": "/"}}}
		}
	}
	n.config(bad)
	n.eventually("Envoy has rejected it", func() bool {
		_, rejected := n.envoySaid()
		return rejected["canary"] != ""
	})
	n.meets(t, client, "v1")
	other := n.example("rewrite", "{name: web}", "{name: web-v1}")
	defer n.api.Remove(other)
	n.answered(other, 1)
	if got := servers(t, client, url(web4, "/"), 40); got["v1"] != 40 {
		t.Errorf("after a version that Envoy rejects: %v", got)
	}
	n.example("canary", all("web-v2")...)
	n.answered(path, 3)
	n.meets(t, client, "v2")
}
