package mesh

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/test/e2e"
)

// A Gateway without its Secret says so, and works when the Secret appears; a new
// certificate is served within two seconds, and no handshake fails meanwhile.
func TestTLS(t *testing.T) {
	scenario(t, "echo-tls", func(c *e2e.Test, s seed) {
		const host = "echo.example.org"
		in := namespace(c.T, "echo")
		in.Apply(strings.ReplaceAll(own(c).text(c, "echo.yaml"), "name: echo}\nspec:\n  selector: {app: echo}\n", "name: echo-1-echo-server}\nspec:\n  selector: {app: echo}\n"))
		in.Apply(strings.ReplaceAll(s.text(c, "echo-tls/gateway-tls.yaml"), "${domain_name}", "example.org"))
		in.Apply(s.file("echo-tls/route.yaml"))
		in.Wait("deployment/echo", "Available")
		in.Eventually("the missing Secret is told of", func() error {
			return equal(in.Get("gateway/echo", `{.status.listeners[0].conditions[?(@.type=="ResolvedRefs")].reason}`), "InvalidCertificateRef")
		})
		cert := in.TLSSecret("echo-tls", host)
		address := addressOf(in, "echo")
		request := e2e.Request{URL: "https://" + host + "/", Connect: e2e.HostPort(address, "443"), CA: cert}
		ext := in.From("ext")
		if r := ext.OK(request, 200); r.Server != host {
			c.Errorf("the certificate names %s", r.Server)
		}
		for _, node := range in.Nodes() {
			enterAt(in, address, node)
			r := ext.OK(request, 200)
			sees(c, r, "x-forwarded-for", r.Client())
			sees(c, r, "x-forwarded-proto", "https")
		}
		if got := in.Get("gateway/echo", "{.metadata.annotations.cert-manager\\.io/cluster-issuer}"); got == "" {
			c.Errorf("the annotation is gone")
		}
		load := ext.Load(e2e.Request{URL: request.URL, Connect: request.Connect, Insecure: true, Rate: 100, Workers: 4})
		request.CA = in.TLSSecret("echo-tls", host)
		begin := time.Now()
		ext.OK(request, 200)
		if took := time.Since(begin); took > 2*time.Second {
			c.Errorf("the new certificate is served after %s", took)
		}
		c.NoFailures(load.Stop())
		withoutTLS(in, s)
	})
}

// withoutTLS puts a second Gateway before the application, which answers on its
// own address what its routes say.
func withoutTLS(in *e2e.Test, s seed) {
	in.Helper()
	in.Apply(s.file("echo-tls/gateway-http.yaml"))
	request := e2e.Request{URL: base(addressOf(in, "echo-gateway"))}
	ext := in.From("ext")
	ext.OK(request, 404)
	in.Apply(strings.NewReplacer("name: echo-1,", "name: plain,", "name: echo}", "name: echo-gateway}").Replace(own(in).text(in, "echo-tls/route.yaml")))
	r := ext.OK(request, 200)
	sees(in, r, "x-forwarded-proto", "http")
}

// A Secret that goes takes the listener's traffic with it, and no other's; when
// it comes back so does the traffic.
func TestSecretVanishes(t *testing.T) {
	c := e2e.New(t)
	c.Apply("testdata/echo.yaml")
	c.Wait("deployment/echo", "Available")
	c.TLSSecret("first", "first.example.org")
	c.TLSSecret("second", "second.example.org")
	c.Apply("testdata/certificates.yaml")
	connect := e2e.HostPort(addressOf(c, "certificates"), "443")
	request := func(host string) e2e.Request {
		return e2e.Request{URL: "https://" + host + ".example.org/", Connect: connect, Insecure: true, Timeout: 2 * time.Second}
	}
	ext := c.From("ext")
	ext.OK(request("first"), 200)
	ext.OK(request("second"), 200)
	second := request("second")
	second.Rate = 50
	load := ext.Load(second)
	for range 3 {
		c.Kubectl("delete", "secret", "first")
		c.Eventually("first is not served", func() error {
			if r := ext.Do(request("first"))[0]; r.Error == "" {
				return fmt.Errorf("%d", r.Status)
			}
			return equal(c.Get("gateway/certificates", `{.status.listeners[?(@.name=="first")].conditions[?(@.type=="ResolvedRefs")].reason}`), "InvalidCertificateRef")
		})
		c.TLSSecret("first", "first.example.org")
		ext.OK(request("first"), 200)
	}
	c.NoFailures(load.Stop())
}
