package mesh

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/test/e2e"
)

// A Gateway gets an address and a Service of type LoadBalancer, and says so.
func TestGateway(t *testing.T) {
	scenario(t, "gateway-echo", func(c *e2e.Test, s seed) {
		c.Apply(s.file("gateway-echo/gateway-minimal.yaml"))
		address := addressOf(c, "cilium-gw")
		c.Wait("gatewayclass/cilium", "Accepted")
		if got := c.Get("gatewayclass/cilium", "{.spec.controllerName}"); got != "io.cilium/gateway-controller" {
			c.Errorf("the class's controller is %s", got)
		}
		if got := c.Get("service/cilium-gateway-cilium-gw", "{.spec.type} {.status.loadBalancer.ingress[0].ip}"); got != "LoadBalancer "+address {
			c.Errorf("the Service is %s, the Gateway's address %s", got, address)
		}
		if got := column(c, "gateway/cilium-gw", "ADDRESS") + " " + column(c, "gateway/cilium-gw", "PROGRAMMED"); got != address+" True" {
			c.Errorf("kubectl get gateway prints %s, want %s True", got, address)
		}
		c.From("ext").OK(e2e.Request{URL: base(address) + "/"}, 404) // there is no route
	})
}

// echo runs two backends behind a Gateway that shares requests between them,
// and returns its address.
func echo(c *e2e.Test, s seed) (address string) {
	c.Helper()
	c.Apply(s.file("gateway-echo/echo.yaml"))
	c.Apply(s.file("gateway-echo/gateway-and-route-50-50.yaml"))
	c.Wait("deployment/echo-1", "Available")
	c.Wait("deployment/echo-2", "Available")
	address = addressOf(c, "my-example-gateway")
	c.From("ext").Hears(base(address)+"/echo", "echo-1", "echo-2")
	return address
}

// Requests from everywhere are shared, and the backends know whose they are.
func TestEcho(t *testing.T) {
	scenario(t, "gateway-echo", func(c *e2e.Test, s seed) {
		address := echo(c, s)
		url := base(address) + "/echo"
		for _, from := range everywhere(c) {
			from.Hears(url, "echo-1", "echo-2")
			got := from.Do(e2e.Request{URL: url, Count: throws, Workers: 4})
			c.Shares(got, map[string]float64{"echo-1": 50, "echo-2": 50}, 5)
			sees(c, got[0], "x-forwarded-for", clientOf(c, from, got[0]))
			sees(c, got[0], "x-forwarded-proto", "http")
			sees(c, got[0], "x-envoy-internal", "true")
			if got[0].Seen("x-request-id") == "" {
				c.Errorf("from %s: the backend sees no x-request-id:\n%s", from.Name(), got[0].Body)
			}
			if r := from.Get(base(address) + "/other"); r.Status != 404 {
				c.Errorf("from %s: another path answers %d %s", from.Name(), r.Status, r.Error)
			}
		}
		public := publicIP(c)
		r := c.From("ext").Do(e2e.Request{URL: url, From: public})[0]
		sees(c, r, "x-forwarded-for", public)
		sees(c, r, "x-envoy-external-address", public)
		sees(c, r, "x-envoy-internal", "")
	})
}

// Other shares hold within a second, and no request fails meanwhile.
func TestShift(t *testing.T) {
	scenario(t, "gateway-echo", func(c *e2e.Test, s seed) {
		url := base(echo(c, s)) + "/echo"
		load := c.From("ext").Load(e2e.Request{URL: url, Rate: 500, Workers: 4})
		kept := c.From("ext").Load(e2e.Request{URL: url, Rate: 100, KeepAlive: true})
		load.More(100)
		c.Apply(s.file("gateway-echo/route-90-10.yaml"))
		load.More(500) // a second
		c.Shares(load.More(throws), map[string]float64{"echo-1": 90, "echo-2": 10}, 5)
		c.NoFailures(load.Stop())
		c.NoFailures(kept.Stop())
	})
}

// Redirects name what the route says, and keep the rest of the URL.
func TestRedirects(t *testing.T) {
	scenario(t, "redirects", func(c *e2e.Test, s seed) {
		address := echo(c, s)
		c.Apply(s.file("redirects/route.yaml"))
		for path, want := range map[string]string{
			"/original-prefix/a": base(address) + "/replacement-prefix/a",
			"/path-and-host/b":   "http://example.org/replacement-prefix/b",
			"/scheme-and-host/c": "https://example.org/scheme-and-host/c",
		} {
			got := c.From("ext").OK(e2e.Request{URL: base(address) + path}, 302)
			if location := got.Headers.Get("Location"); location != want {
				c.Errorf("%s leads to %s, want %s", path, location, want)
			}
		}
	})
}

// Whoever enters at whichever node, with a backend there or without, under
// either policy, over TLS or not, and whoever asks from within, at whatever
// address: the backends see the client's address, and all of them are used.
func TestClientAddress(t *testing.T) {
	c := e2e.In(t, "default")
	address := echo(c, own(t))
	overTLS, secure := secured(c)
	places := everywhere(c)
	ext, within := places[0], places[1:]
	const service = "service/cilium-gateway-my-example-gateway"
	for _, policy := range []string{"Local", "Cluster"} {
		config(c, "gateway-api-service-externaltrafficpolicy", policy)
		c.Eventually("the policy "+policy, func() error {
			return equal(c.Get(service, "{.spec.externalTrafficPolicy}"), policy)
		})
		for _, from := range places {
			reaches(c, from, address, "80")
		}
		ip, port, _ := strings.Cut(c.Get(service, "{.spec.clusterIP} {.spec.ports[0].nodePort}"), " ")
		for _, from := range within {
			reaches(c, from, ip, "80")
		}
		for _, node := range c.Nodes() {
			enterAt(c, address, node)
			enterAt(c, secure, node)
			reaches(c, ext, address, "80")
			for _, from := range places {
				reaches(c, from, c.NodeIP(node), port)
			}
			r := ext.OK(overTLS, 200)
			sees(c, r, "x-forwarded-for", r.Client())
		}
	}
}

// reaches expects both backends of echo to be reached from a place, and to be
// told its address.
func reaches(c *e2e.Test, from *e2e.Source, address, port string) {
	c.Helper()
	url := "http://" + e2e.HostPort(address, port) + "/echo"
	from.Hears(url, "echo-1", "echo-2")
	r := from.Get(url)
	sees(c, r, "x-forwarded-for", clientOf(c, from, r))
}

// An address that a Gateway names is the one it gets, whatever an older
// annotation says; labels and annotations reach the Service.
func TestStaticAddress(t *testing.T) {
	c := e2e.New(t)
	address, other := c.FreeLoadBalancerIP(), c.FreeLoadBalancerIP()
	c.Apply(`apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: my-gateway}
spec:
  gatewayClassName: cilium
  addresses: [{type: IPAddress, value: "` + address + `"}]
  infrastructure:
    labels: {team: bees}
    annotations:
      io.cilium/lb-ipam-ips: "` + other + `"
      external-dns.alpha.kubernetes.io/hostname: my.example.org
      service.beta.kubernetes.io/some-load-balancer: "yes"
  listeners: [{name: web, protocol: HTTP, port: 80}]
`)
	if got := addressOf(c, "my-gateway"); got != address {
		c.Errorf("the address is %s, want %s", got, address)
	}
	c.From("ext").OK(e2e.Request{URL: base(address)}, 404)
	service := c.Kubectl("get", "service/cilium-gateway-my-gateway", "-o", "json")
	for _, want := range []string{`"team": "bees"`, `"external-dns.alpha.kubernetes.io/hostname": "my.example.org"`, `"service.beta.kubernetes.io/some-load-balancer": "yes"`} {
		if !strings.Contains(service, want) {
			c.Errorf("the Service lacks %s:\n%s", want, service)
		}
	}
	if status := c.Get("gateway/my-gateway", "{.status.conditions}"); !strings.Contains(status, "io.cilium/lb-ipam-ips") {
		c.Errorf("the status does not warn of the annotation: %s", status)
	}
}

// A class may say of what type its Gateways' Services are; they follow when it
// says otherwise.
func TestClassConfig(t *testing.T) {
	c := e2e.New(t)
	config := "apiVersion: cilium.io/v2alpha1\nkind: CiliumGatewayClassConfig\nmetadata: {name: told}\nspec: {service: {type: NodePort}}\n"
	c.Apply(config)
	c.Apply("apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: told}\nspec: {controllerName: io.cilium/gateway-controller, " +
		"parametersRef: {group: cilium.io, kind: CiliumGatewayClassConfig, name: told, namespace: " + c.Namespace + "}}\n")
	c.Apply(strings.Replace(gatewayOf("told", ""), "gatewayClassName: cilium", "gatewayClassName: told", 1))
	addressOf(c, "told")
	addresses := strings.Fields(c.Get("gateway/told", "{.status.addresses[*].value}"))
	port := c.Get("service/cilium-gateway-told", "{.spec.ports[0].nodePort}")
	for _, node := range c.Nodes() {
		if !slices.Contains(addresses, c.NodeIP(node)) {
			c.Errorf("the addresses are %s, without %s of %s", addresses, c.NodeIP(node), node)
		}
		c.From("ext").OK(e2e.Request{URL: "http://" + e2e.HostPort(c.NodeIP(node), port)}, 404)
	}
	c.Apply(strings.Replace(config, "NodePort", "LoadBalancer", 1))
	var address string
	c.Eventually("an address of the pool", func() error {
		if address = c.Get("service/cilium-gateway-told", "{.status.loadBalancer.ingress[0].ip}"); address == "" {
			return fmt.Errorf("the Service has none")
		}
		return equal(c.Get("gateway/told", "{.status.addresses[*].value}"), address)
	})
	c.From("ext").OK(e2e.Request{URL: base(address)}, 404)
}
