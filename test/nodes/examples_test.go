package nodes

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"sigs.k8s.io/yaml"
)

// exampleLab is a configLab with a pod of companions, and the Services that the
// examples name.
type exampleLab struct {
	*agentNode
	client *Pod
	tools  *Pod
}

// newExampleLab is the node of the tests of examples.
func newExampleLab(t *testing.T) *exampleLab {
	n, client := configLab(t)
	l := &exampleLab{n, client, n.addPod("tools")}
	key, err := os.ReadFile("testdata/secure.key")
	n.must("read a key", err)
	l.tools.ServeCompanions(t, CompanionsRequest{Certificate: l.exampleCertificate(), Key: key})
	l.companion("authz", 1, AuthzPort)
	l.companion("issuer", 2, IssuerPort)
	l.companion("audit", 3, AuditPort)
	l.companion("ratelimit", 4, GRPCPort)
	l.companion("grpc", 5, GRPCPort)
	l.companion("secure", 6, SecurePort, SecondaryPort)
	return l
}

// TestExamples applies the objects of examples/envoyconfig one after the other
// and looks at what arrives. TestCanary and those beside it have the others.
func TestExamples(t *testing.T) {
	l := newExampleLab(t)
	for _, e := range []struct {
		name string
		test func(*exampleLab, *testing.T)
	}{
		{"headers", (*exampleLab).headers}, {"ext-authz", (*exampleLab).extAuthz}, {"jwt", (*exampleLab).jwt},
		{"global-rate-limit", (*exampleLab).globalRateLimit}, {"grpc-web", (*exampleLab).grpcWeb}, {"compression", (*exampleLab).compression},
		{"fault", (*exampleLab).fault}, {"mirror", (*exampleLab).mirror}, {"affinity", (*exampleLab).affinity}, {"sni", (*exampleLab).sni},
		{"tls-origination", (*exampleLab).tlsOrigination}, {"failover", (*exampleLab).failover},
	} {
		l.subtest(t, e.name, func(t *testing.T) {
			defer func(path string) { l.api.Remove(path) }(l.serve(e.name))
			e.test(l, t)
		})
	}
}

// subtest is a test of its own on the same node.
func (n *agentNode) subtest(t *testing.T, name string, test func(t *testing.T)) {
	ok := t.Run(name, func(t *testing.T) {
		n.t = t
		test(t)
	})
	if n.t = t; !ok {
		t.Log("the next begins on the same node")
	}
}

// serve applies an example and waits until Envoy has it.
func (n *agentNode) serve(example string) (path string) {
	path = n.example(example)
	applied := time.Now()
	n.answered(path, 1)
	if took := time.Since(applied); took > 4*time.Second { // its clusters have waited for what Envoy had
		n.t.Errorf("%s was answered after %v", example, took)
	}
	return path
}

// exampleCertificate is the one that an example trusts.
func (n *agentNode) exampleCertificate() []byte {
	text, err := os.ReadFile("../../examples/envoyconfig/tls-origination.yaml")
	n.must("read an example", err)
	var o ciliumv2.CiliumEnvoyConfig
	n.must("read an example", yaml.Unmarshal(text, &o))
	var secret struct {
		Context struct {
			CA struct {
				Text string `json:"inline_string"`
			} `json:"trusted_ca"`
		} `json:"validation_context"`
	}
	n.must("read an example", json.Unmarshal(o.Spec.Resources[len(o.Spec.Resources)-1].JSON, &secret))
	return []byte(secret.Context.CA.Text)
}

// companion is a Service with the pod of companions behind it: at port 80, or at
// 443 and 8443.
func (l *exampleLab) companion(name string, i int, targets ...int) {
	ports := []int{80}
	if len(targets) > 1 {
		ports = []int{443, 8443}
	}
	var outside, inside []string
	for j, target := range targets {
		outside = append(outside, fmt.Sprintf("{name: p%d, port: %d, targetPort: %d, protocol: TCP}", j, ports[j], target))
		inside = append(inside, fmt.Sprintf("{name: p%d, port: %d, protocol: TCP}", j, target))
	}
	l.apply(fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec: {clusterIP: 10.96.2.%[2]d, clusterIPs: [10.96.2.%[2]d], type: ClusterIP, ports: [%[3]s]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[1]s, labels: {kubernetes.io/service-name: %[1]s}}
addressType: IPv4
ports: [%[4]s]
endpoints: [{addresses: [%[5]s], conditions: {ready: true}}]
`, name, i, strings.Join(outside, ", "), strings.Join(inside, ", "), l.tools.Addr4))
}

// ask asks Service web, with headers as "name", "value", ….
func (l *exampleLab) ask(t *testing.T, path string, headers ...string) FetchResult {
	t.Helper()
	q := FetchRequest{URL: url(web4, path), Header: map[string]string{}}
	for i := 0; i < len(headers); i += 2 {
		q.Header[headers[i]] = headers[i+1]
	}
	return l.client.Fetch(t, q)
}

// expect fails the test unless ok.
func expect(t *testing.T, ok bool, what string, r FetchResult) {
	t.Helper()
	if !ok {
		t.Errorf("%s: status %d %s, headers %v, body %q", what, r.Status, r.Error, r.Header, r.Body)
	}
}

func (l *exampleLab) headers(t *testing.T) {
	r := l.ask(t, "/v1/items/7", "Cookie", "a=b")
	e := r.Echo
	expect(t, e.Path == "/items" && e.Host == "v1.example.com", "what is asked", r)
	expect(t, e.Header.Get("x-tenant") == "unknown" && e.Header.Get("x-from") == l.client.Addr4.String() && e.Header.Get("cookie") == "", "headers", r)
	r = l.ask(t, "/v1/other", "x-tenant", "acme")
	expect(t, r.Echo.Path == "/v1/other" && r.Echo.Header.Get("x-tenant") == "acme" && r.Header.Get("x-served-for") == "acme", "what there is stays", r)
}

func (l *exampleLab) extAuthz(t *testing.T) {
	r := l.ask(t, "/")
	expect(t, r.Status == 403 && strings.Contains(r.Body, "who are you?"), "a stranger", r)
	r = l.ask(t, "/", "Authorization", "Bearer let-me-in")
	expect(t, r.Status == 200 && r.Echo.Header.Get("x-user") == "alice", "a user", r)
	r = l.ask(t, "/healthz")
	expect(t, r.Status == 200, "health", r)
}

func (l *exampleLab) jwt(t *testing.T) {
	token := func(audience string) string {
		return "Bearer " + l.client.Get(t, "http://10.96.2.2/token?aud="+audience).Body
	}
	r := l.ask(t, "/")
	expect(t, r.Status == 401, "without a token", r)
	r = l.ask(t, "/", "Authorization", token("web"))
	expect(t, r.Status == 200 && r.Echo.Header.Get("x-subject") == "alice", "with one", r)
	r = l.ask(t, "/", "Authorization", token("shop"))
	expect(t, r.Status == 403, "with one for others", r)
	forged := token("web")
	r = l.ask(t, "/", "Authorization", forged[:len(forged)-10]+"AAAAAAAAAA")
	expect(t, r.Status == 401, "with a forged one", r)
}

func (l *exampleLab) globalRateLimit(t *testing.T) {
	for i := range userLimit + 2 {
		want := 200
		if i >= userLimit {
			want = 429
		}
		r := l.ask(t, "/", "x-user", "alice")
		expect(t, r.Status == want && strings.HasPrefix(r.Header.Get("x-ratelimit-limit"), fmt.Sprint(userLimit)), fmt.Sprint("request ", i), r)
	}
	r := l.ask(t, "/", "x-user", "bob")
	expect(t, r.Status == 200, "another user", r)
}

func (l *exampleLab) grpcWeb(t *testing.T) {
	r := l.client.Fetch(t, FetchRequest{
		URL: url(web4, "/grpc.health.v1.Health/Check"), Method: "POST", Body: 5, // the frame of an empty message
		Header: map[string]string{"content-type": "application/grpc-web+proto", "origin": "https://shop.example.com"},
	})
	serving := "\x00\x00\x00\x00\x02\x08\x01" // HealthCheckResponse{status: SERVING}
	expect(t, r.Status == 200 && strings.HasPrefix(r.Body, serving) && strings.Contains(r.Body, "grpc-status:0"), "a call", r)
	expect(t, r.Header.Get("access-control-allow-origin") == "https://shop.example.com", "the page's origin", r)
}

func (l *exampleLab) compression(t *testing.T) {
	r := l.ask(t, "/", "Accept-Encoding", "gzip")
	expect(t, r.Header.Get("content-encoding") == "gzip" && strings.HasPrefix(r.Body, "\x1f\x8b"), "for who takes gzip", r)
	r = l.ask(t, "/", "Accept-Encoding", "identity")
	expect(t, r.Header.Get("content-encoding") == "" && r.Echo.Server == "v1", "for who does not", r)
}

func (l *exampleLab) fault(t *testing.T) {
	r := l.ask(t, "/", "x-test-slow", "1")
	expect(t, r.Status == 200 && r.Took >= 200*time.Millisecond, "slow", r)
	r = l.ask(t, "/", "x-test-broken", "1")
	expect(t, r.Status == 503, "broken", r)
	r = l.ask(t, "/")
	expect(t, r.Status == 200, "others", r)
}

func (l *exampleLab) mirror(t *testing.T) {
	r := l.ask(t, "/mirrored")
	expect(t, r.Status == 200 && r.Echo.Server == "v1", "who answers", r)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		seen := l.client.Get(t, "http://10.96.2.3/seen")
		if strings.Contains(seen.Body, `"Path":"/mirrored"`) {
			expect(t, strings.Contains(seen.Body, `-shadow`), "the mirrored request", seen)
			return
		}
		if time.Now().After(deadline) {
			expect(t, false, "nothing is mirrored", seen)
			return
		}
	}
}

func (l *exampleLab) affinity(t *testing.T) {
	met := map[string]bool{}
	for range 20 { // new clients
		r := l.ask(t, "/")
		cookie, _, _ := strings.Cut(r.Header.Get("Set-Cookie"), ";")
		expect(t, strings.HasPrefix(cookie, "web-affinity="), "the first answer", r)
		met[r.Echo.Server] = true
		for range 3 {
			again := l.ask(t, "/", "Cookie", cookie)
			expect(t, again.Echo.Server == r.Echo.Server, "the same client again", again)
		}
	}
	if len(met) != 2 {
		t.Errorf("20 clients met only %v", met)
	}
}

func (l *exampleLab) sni(t *testing.T) {
	for name, want := range map[string]string{"one.example.com": "secure-1", "a.two.example.com": "secure-2", "three.example.com": ""} {
		r := l.client.Fetch(t, FetchRequest{URL: "https://" + name + "/", At: web4.String() + ":80"})
		expect(t, r.Echo.Server == want && (r.Error != "") == (want == ""), name, r)
	}
}

func (l *exampleLab) tlsOrigination(t *testing.T) {
	r := l.ask(t, "/")
	expect(t, r.Status == 200 && r.Echo.Server == "secure-1", "over TLS", r)
}

func (l *exampleLab) failover(t *testing.T) {
	l.answers(t, "v1")
	slice := "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/web-v1-"
	for family, address := range map[string]string{"4": l.tools.Addr4.String(), "6": l.tools.Addr6.String()} {
		o := l.api.Get(slice + family)
		defer l.api.Put(slice+family, l.api.Get(slice+family))
		o["endpoints"] = []any{map[string]any{"addresses": []any{address}, "conditions": map[string]any{"ready": true}}}
		l.api.Put(slice+family, o) // a pod where nothing listens
	}
	l.answers(t, "v2")
}

// answers waits until a server answers.
func (l *exampleLab) answers(t *testing.T, server string) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		r := l.ask(t, "/")
		if r.Echo.Server == server {
			return
		}
		if time.Now().After(deadline) {
			expect(t, false, server+" does not answer", r)
			return
		}
	}
}
