package nodes

import (
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
)

// TestExamplesUnderLoad applies, edits and removes each example while its
// Service is asked, on new connections and on one that is kept for as long as
// Envoy lets it: no request fails.
func TestExamplesUnderLoad(t *testing.T) {
	l := newExampleLab(t)
	var token string
	l.eventually("the issuer gives a token", func() bool {
		r := l.client.Get(t, "http://10.96.2.2/token?aud=web")
		token = "Bearer " + r.Body
		return r.Status == 200
	})
	web := LoadRequest{URL: url(web4, "/")}
	other := LoadRequest{URL: "http://10.96.1.2/"} // web-v1, for examples after which web speaks something else, or that lead no Service
	for _, e := range []struct {
		name string
		load LoadRequest
	}{
		{"admin", other}, {"affinity", web}, {"canary", web}, {"circuit-breaker", web}, {"compression", web},
		{"ext-authz", LoadRequest{URL: url(web4, "/healthz")}}, {"failover", web}, {"fault", web}, {"global-rate-limit", web},
		{"grpc-web", LoadRequest{URL: web.URL, Status: Answered}}, {"headers", web},
		{"jwt", LoadRequest{URL: web.URL, Header: map[string]string{"Authorization": token}}}, {"mirror", web},
		{"rate-limit", LoadRequest{URL: web.URL, Status: Answered}}, {"rewrite", web}, {"sni", other}, {"tls-origination", web},
	} {
		l.subtest(t, e.name, func(t *testing.T) {
			kept, fresh := e.load, e.load
			kept.Name, kept.Clients, kept.Rate = "kept connections of "+e.name, 1, 50
			fresh.Name, fresh.Clients, fresh.Rate, fresh.Connect = "new connections of "+e.name, 1, 50, true
			loads := []*Load{l.client.StartLoad(t, fresh)}
			l.answered(l.example(e.name), 1)
			if e.name != "circuit-breaker" { // which takes one request at a time
				loads = append(loads, l.client.StartLoad(t, kept))
			}
			path := l.config(edited(l.readExample(e.name)))
			l.answered(path, 2)
			l.api.Remove(path)
			l.eventually("Envoy has nothing of it any more", func() bool { return l.given() == 0 })
			time.Sleep(500 * time.Millisecond) // requests go on
			for _, load := range loads {
				r := load.Stop(t)
				t.Log(r)
				if len(r.Failed) > 0 || r.Requests < 10 {
					t.Errorf("%s: %d of %d requests failed", r.Name, len(r.Failed), r.Requests)
				}
			}
		})
	}
}

// edited is an object of which each resource is another than before.
func edited(o kubetest.Object) kubetest.Object {
	for _, r := range o["spec"].(kubetest.Object)["resources"].([]any) {
		r := r.(kubetest.Object)
		switch kind := r["@type"].(string); kind[strings.LastIndexByte(kind, '.')+1:] {
		case "Listener":
			r["stat_prefix"] = "edited"
		case "Cluster":
			r["connect_timeout"] = "3s"
		case "RouteConfiguration":
			r["response_headers_to_add"] = []any{kubetest.Object{"header": kubetest.Object{"key": "x-edited", "value": "yes"}}}
		}
	}
	return o
}

// given counts the objects that Envoy is given something of.
func (n *agentNode) given() int {
	n.t.Helper()
	configs, _ := n.api.Get("/apis/waggle.io/v1alpha1/envoynodes/" + n.Name)["configs"].([]any)
	return len(configs)
}
