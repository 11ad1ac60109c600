package nodes

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
	"github.com/waggle-mesh/waggle/test/hostile/objects"
)

// hostileConfig is one of the hostile objects, on the API server.
type hostileConfig struct {
	objects.Case
	name string
	port int // of the Service that it is about
}

// TestHostileConfigs gives a node all hostile objects, while requests to another
// Service go through Envoy. What is refused is not served; what is contained is
// answered as it says, by Envoy or at its own Service's ports; and no request
// to the other Service fails.
func TestHostileConfigs(t *testing.T) {
	n, client := configLab(t)
	good := n.example("rewrite")
	n.answered(good, 1)
	families, err := objects.Load()
	n.must("read the objects", err)
	var all, contained []hostileConfig
	for family, cases := range families {
		for i, c := range cases {
			h := hostileConfig{Case: c, name: fmt.Sprintf("%s-%d", family, i), port: 80}
			if c.Contained != "" {
				h.port = 8000 + i
				contained = append(contained, h)
			}
			all = append(all, h)
		}
	}
	n.tenant(contained)
	load := client.StartLoad(t, LoadRequest{Name: "another Service", URL: url(web4, "/foo"), Connect: true, Clients: 2, Rate: 100})
	for _, h := range all {
		n.hostile(h)
	}
	// What comes after them is there when they have been read.
	n.example("rewrite", "x-api", "x-later")
	n.answered(good, 2)
	for _, h := range contained {
		n.contained(client, h)
	}
	r := load.Stop(t)
	t.Log(len(all), "objects;", r)
	if len(r.Failed) > 0 {
		t.Errorf("%d requests failed, the first: %+v", len(r.Failed), r.Failed[0])
	}
	answered, rejected := n.envoySaid()
	for _, h := range all {
		if h.Contained == "" && (answered[h.name] || rejected[h.name] != "") {
			t.Errorf("%s: %q is served", h.name, h.Name)
		}
	}
}

// tenant makes the namespace of the hostile objects. Its Service "web" has the
// backend of web-v1, and a port for each contained object.
func (n *agentNode) tenant(contained []hostileConfig) {
	n.t.Helper()
	ports, served := []string{"{name: http, port: 80, protocol: TCP}", "{name: closed, port: 9, protocol: TCP}"}, ""
	for _, h := range contained {
		ports = append(ports, fmt.Sprintf("{name: p%d, port: %d, targetPort: 80, protocol: TCP}", h.port, h.port))
		served += fmt.Sprintf(", {name: p%d, port: 80, protocol: TCP}", h.port)
	}
	n.api.Put("/api/v1/namespaces/tenant", object(n.t, "{apiVersion: v1, kind: Namespace, metadata: {name: tenant}}"))
	for name, address := range map[string]string{"web": "10.96.7.7", "nobody": "10.96.7.8"} {
		n.api.Put("/api/v1/namespaces/tenant/services/"+name, object(n.t, fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: tenant}
spec: {clusterIP: %s, clusterIPs: [%s], type: ClusterIP, ports: [%s]}`, name, address, address, strings.Join(ports, ", "))))
	}
	slice := object(n.t, fmt.Sprintf(`
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web, namespace: tenant, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 80, protocol: TCP}, {name: closed, port: 9, protocol: TCP}%s]`, served))
	slice["endpoints"] = n.api.Get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/web-v1-4")["endpoints"]
	n.api.Put("/apis/discovery.k8s.io/v1/namespaces/tenant/endpointslices/web", slice)
}

// hostile applies an object.
func (n *agentNode) hostile(h hostileConfig) {
	o := h.Object()
	meta := map[string]any{"name": h.name, "generation": 1.0}
	if len(h.Annotations) > 0 {
		annotations := map[string]any{}
		for key, value := range h.Annotations {
			annotations[key] = value
		}
		meta["annotations"] = annotations
	}
	kind, path := "CiliumEnvoyConfig", "/apis/cilium.io/v2/namespaces/tenant/ciliumenvoyconfigs/"
	if h.Clusterwide {
		kind, path = "CiliumClusterwideEnvoyConfig", "/apis/cilium.io/v2/ciliumclusterwideenvoyconfigs/"
	} else {
		meta["namespace"] = "tenant"
	}
	if h.Contained != "" {
		o["spec"].(map[string]any)["services"] = []any{map[string]any{"name": "web", "namespace": "tenant", "ports": []any{float64(h.port)}}}
	}
	o["apiVersion"], o["kind"], o["metadata"] = "cilium.io/v2", kind, meta
	n.api.Put(path+h.name, o)
}

// contained waits until an object that is accepted does what it says.
func (n *agentNode) contained(client *Pod, h hostileConfig) {
	n.t.Helper()
	last := ""
	ok := func() bool {
		answered, rejected := n.envoySaid()
		if h.Contained == "rejected" {
			last = fmt.Sprintf("Envoy has answered it: %v", answered[h.name])
			return rejected[h.name] != ""
		}
		if last = "Envoy has not answered: " + rejected[h.name]; !answered[h.name] {
			return false
		}
		r := client.Fetch(n.t, FetchRequest{URL: fmt.Sprintf("http://10.96.7.7:%d/", h.port), Timeout: time.Second})
		last = fmt.Sprintf("status %d %s %q", r.Status, r.Error, r.Body)
		return r.Error == "" && fmt.Sprint(r.Status) == h.Contained || r.Error != "" && h.Contained == "none"
	}
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			n.t.Errorf("%s: %q, want %s: %s", h.name, h.Name, h.Contained, last)
			return
		}
	}
}

// envoySaid are the objects of which the node's Envoy has all, and those of
// which it rejects something, with its words.
func (n *agentNode) envoySaid() (answered map[string]bool, rejected map[string]string) {
	said := n.api.Get("/apis/waggle.io/v1alpha1/envoynodes/" + n.Name)
	answered, rejected = map[string]bool{}, map[string]string{}
	configs, _ := said["configs"].([]any)
	for _, c := range configs {
		answered[c.(kubetest.Object)["name"].(string)] = true
	}
	problems, _ := said["rejected"].([]any)
	for _, p := range problems {
		p := p.(kubetest.Object)
		rejected[p["name"].(string)] = p["message"].(string)
	}
	return answered, rejected
}
