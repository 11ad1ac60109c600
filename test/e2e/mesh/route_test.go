package mesh

import (
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/test/e2e"
)

// One path of an application is routed, the others are not.
func TestBookinfo(t *testing.T) {
	scenario(t, "bookinfo", func(c *e2e.Test, s seed) {
		c.Apply("../smoke/testdata/bookinfo.yaml")
		c.Apply(s.file("bookinfo/gateway.yaml"))
		c.Apply(s.file("bookinfo/route.yaml"))
		address := addressOf(c, "my-gateway")
		const details = `{"id":1,"author":"William Shakespeare","year":1595,"type":"paperback","pages":200,"publisher":"PublisherA","language":"English","ISBN-10":"1234567890","ISBN-13":"123-1234567890"}`
		if r := c.From("ext").OK(e2e.Request{URL: base(address) + "/details/1"}, 200); r.Body != details {
			c.Errorf("details: %s", r.Body)
		}
		if r := c.From("ext").Get(base(address) + "/productpage"); r.Status != 404 {
			c.Errorf("the product page answers %d %s", r.Status, r.Error)
		}
	})
}

const platform = `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: platform, namespace: infrastructure}
spec:
  gatewayClassName: cilium
  listeners:
  - name: web
    protocol: HTTP
    port: 80
    allowedRoutes: {namespaces: {from: Selector, selector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [observability, flux-system]}]}}}
`

// routeTo is an HTTPRoute of a namespace for a host name, that is its own name.
func routeTo(namespace, host string) string {
	return `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: "` + host + `", namespace: ` + namespace + `}
spec:
  parentRefs: [{name: platform, namespace: infrastructure}]
  hostnames: ["` + host + `"]
  rules: [{backendRefs: [{name: echo, port: 80}]}]
`
}

// A Gateway is shared by the routes of the namespaces that it names, and no others.
func TestSharedGateway(t *testing.T) {
	infrastructure := namespace(t, "infrastructure")
	infrastructure.Apply(platform)
	tenants := map[string]*e2e.Test{}
	for _, name := range []string{"observability", "flux-system", "elsewhere"} {
		in := namespace(t, name)
		tenants[name] = in
		in.Apply("testdata/echo.yaml")
		in.Wait("deployment/echo", "Available")
		in.Apply(routeTo(name, name+".example.org"))
	}
	ext := infrastructure.From("ext")
	url := base(addressOf(infrastructure, "platform")) + "/"
	for _, name := range []string{"observability", "flux-system"} {
		ext.OK(e2e.Request{URL: url, Host: name + ".example.org"}, 200)
	}
	elsewhere := tenants["elsewhere"]
	elsewhere.Wait("httproute/elsewhere.example.org", "Accepted=False")
	if got := elsewhere.Get("httproute/elsewhere.example.org", `{.status.parents[0].conditions[?(@.type=="Accepted")].reason}`); got != "NotAllowedByListeners" {
		t.Errorf("the third namespace's route: %s", got)
	}
	if r := ext.Do(e2e.Request{URL: url, Host: "elsewhere.example.org"})[0]; r.Status != 404 {
		t.Errorf("the third namespace's host answers %d %s", r.Status, r.Error)
	}
}

// secured puts a Gateway that terminates TLS before the backends of echo, and
// returns a request to it, and its address.
func secured(c *e2e.Test) (request e2e.Request, address string) {
	c.Helper()
	c.TLSSecret("headers", "headers.example.org")
	c.Apply("testdata/headers.yaml")
	address = addressOf(c, "headers")
	return e2e.Request{URL: "https://headers.example.org/", Connect: e2e.HostPort(address, "443"), Insecure: true}, address
}

// Shares of 95 to 5, and a header that is added for one path.
func TestHeaders(t *testing.T) {
	c := e2e.In(t, "default")
	address := echo(c, own(t))
	request, _ := secured(c)
	ext := c.From("ext")
	ext.OK(request, 200)
	request.Count, request.Workers = throws, 4
	c.Shares(ext.Do(request), map[string]float64{"echo-1": 95, "echo-2": 5}, 3)

	public := publicIP(c)
	request.URL, request.From, request.Count = "https://headers.example.org/req-header-add", public, 1
	r := ext.Do(request)[0]
	sees(c, r, "foo", "bar")
	sees(c, r, "x-forwarded-proto", "https")
	sees(c, r, "x-envoy-external-address", public)
	if r := ext.Get(base(address) + "/echo"); r.Seen("foo") != "" {
		c.Errorf("the header is added elsewhere, too")
	}
}

// Who has a role on routes may edit them, and not the Gateway.
func TestRoles(t *testing.T) {
	scenario(t, "echo-tls", func(c *e2e.Test, s seed) {
		in := namespace(c.T, "echo")
		in.Apply(s.file("echo-tls/rbac.yaml"))
		for _, may := range []struct{ verb, resource, want string }{
			{"update", "httproutes", "yes"}, {"create", "httproutes", "yes"}, {"delete", "httproutes", "yes"},
			{"get", "gateways", "yes"}, {"list", "gateways", "yes"}, {"update", "gateways", "no"}, {"create", "gateways", "no"},
		} {
			got := in.Attempt("auth", "can-i", may.verb, may.resource+".gateway.networking.k8s.io", "--as", "somebody", "--as-group", "developers")
			if answer := got[strings.LastIndexByte(got, '\n')+1:]; answer != may.want && !strings.HasSuffix(answer, ": "+may.want) {
				c.Errorf("may a developer %s %s: %s, want %s", may.verb, may.resource, got, may.want)
			}
		}
	})
}
