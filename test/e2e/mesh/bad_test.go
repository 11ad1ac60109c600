package mesh

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/test/e2e"
)

// gatewayOf is a Gateway with one listener and what its spec has besides.
func gatewayOf(name, more string) string {
	return fmt.Sprintf("apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: %s}\nspec:\n  gatewayClassName: cilium\n  listeners: [{name: http, protocol: HTTP, port: 80}]\n%s", name, more)
}

// told waits until an object says of a condition that it is False, with this
// reason and a message that names what is wrong.
func told(c *e2e.Test, object, condition, reason, names string) {
	c.Helper()
	c.Wait(object, condition+"=False")
	c.Eventually(object+" says why", func() error {
		got := c.Get(object, fmt.Sprintf("{range .status.conditions[?(@.type==%q)]}{.reason}: {.message}{end}", condition))
		if !strings.HasPrefix(got, reason+": ") || !strings.Contains(got, names) {
			return fmt.Errorf("%s is %q, want %s that names %s", condition, got, reason, names)
		}
		return nil
	})
}

// What cannot be had is said, and had when it can.
func TestUnusableAddress(t *testing.T) {
	c := e2e.New(t)
	c.Apply(gatewayOf("elsewhere", "  addresses: [{value: 192.0.2.1}]\n"))
	told(c, "gateway/elsewhere", "Programmed", "AddressNotUsable", "192.0.2.1")
	c.Apply(gatewayOf("elsewhere", "  addresses: [{value: "+c.FreeLoadBalancerIP()+"}]\n"))
	addressOf(c, "elsewhere")
}

// Without a pool there are no addresses; with one again there are.
func TestNoPool(t *testing.T) {
	c := e2e.New(t)
	pool := c.Remember("ciliumloadbalancerippool/sandbox")
	c.Kubectl("delete", "ciliumloadbalancerippool/sandbox")
	c.Cleanup(func() { c.Put(pool) })
	c.Apply(gatewayOf("lost", ""))
	told(c, "gateway/lost", "Programmed", "AddressNotAssigned", "No address is assigned")
	c.Put(pool)
	addressOf(c, "lost")
}

// A class and a Gateway with parameters that nobody knows are not accepted.
func TestUnknownParameters(t *testing.T) {
	c := e2e.New(t)
	parameters := "parametersRef: {group: example.org, kind: Wish, name: fast"
	c.Apply("apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: wishful}\nspec: {controllerName: io.cilium/gateway-controller, " + parameters + "}}\n")
	told(c, "gatewayclass/wishful", "Accepted", "InvalidParameters", "Wish")
	c.Apply(gatewayOf("wishful", "  infrastructure: {"+parameters+"}}\n"))
	told(c, "gateway/wishful", "Accepted", "InvalidParameters", "Wish")
}

// The largest Gateway and the longest name.
func TestLarge(t *testing.T) {
	c := e2e.New(t)
	long := strings.Repeat("a", 126) + "." + strings.Repeat("b", 126)
	c.Apply(gatewayOf(long, ""))
	var listeners strings.Builder
	for i := range 64 {
		fmt.Fprintf(&listeners, "  - {name: l%d, protocol: HTTP, port: %d}\n", i, 8000+i)
	}
	c.Apply(strings.Replace(gatewayOf("many", ""), " [{name: http, protocol: HTTP, port: 80}]\n", "\n"+listeners.String(), 1))
	c.From("ext").OK(e2e.Request{URL: base(addressOf(c, long))}, 404)
	many := addressOf(c, "many")
	for _, port := range []string{"8000", "8031", "8063"} {
		c.From("ext").OK(e2e.Request{URL: "http://" + e2e.HostPort(many, port)}, 404)
	}
}

// A Service that somebody else has made under a Gateway's name is left alone, and
// the Gateway works when it is gone.
func TestForeignService(t *testing.T) {
	c := e2e.New(t)
	const foreign = "apiVersion: v1\nkind: Service\nmetadata: {name: cilium-gateway-mine}\nspec: {selector: {app: mine}, ports: [{port: 81}]}\n"
	c.Apply(foreign)
	before := c.Get("service/cilium-gateway-mine", "{.metadata.resourceVersion}")
	c.Apply(gatewayOf("mine", ""))
	c.Wait("gateway/mine", "Programmed=False")
	c.Eventually("the Service is named", func() error {
		if got := c.Get("gateway/mine", "{.status.conditions}"); !strings.Contains(got, "cilium-gateway-mine") {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
	if after := c.Get("service/cilium-gateway-mine", "{.metadata.resourceVersion}"); after != before {
		c.Errorf("the Service was changed")
	}
	c.Delete(foreign)
	addressOf(c, "mine")
}

// Definitions that go, and their objects with them, and come back: what is left
// is served, and nothing needs a restart.
func TestDefinitionsVanish(t *testing.T) {
	c := e2e.New(t)
	c.Apply("testdata/echo.yaml")
	c.Wait("deployment/echo", "Available")
	route := "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: lasting}\nspec: {parentRefs: [{name: lasting}], rules: [{backendRefs: [{name: echo, port: 80}]}]}\n"
	c.Apply(gatewayOf("lasting", ""))
	c.Apply(route)
	request := e2e.Request{URL: base(addressOf(c, "lasting"))}
	c.From("ext").OK(request, 200)
	before := c.Kubectl("-n", system, "get", "pods", "-o", restarts)
	definitions := []string{"httproutes.gateway.networking.k8s.io", "ciliumenvoyconfigs.cilium.io", "envoynodes.waggle.io"}
	for _, name := range definitions {
		definition := c.Remember("customresourcedefinition/" + name)
		c.Kubectl("delete", "customresourcedefinition/"+name)
		if name == definitions[0] {
			c.From("ext").OK(request, 404) // the routes went with it
		}
		c.Put(definition)
		c.Wait("customresourcedefinition/"+name, "Established")
		c.Apply(route)
		c.From("ext").OK(request, 200)
		addressOf(c, "lasting")
	}
	if after := c.Kubectl("-n", system, "get", "pods", "-o", restarts); after != before {
		c.Errorf("pods have been started again: %s, before %s", after, before)
	}
}
