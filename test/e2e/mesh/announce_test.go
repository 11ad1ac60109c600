package mesh

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/test/e2e"
)

// mostTakeOver is the longest that an address may be away once the Lease of a
// node that is switched off is over, on a machine that does nothing else.
const mostTakeOver = 3 * time.Second

// TestAnnouncement: who is on the nodes' segment finds a Gateway's address at
// the node that has its Lease, and at another node when that one is switched
// off. The chart is installed with Leases of 2 s.
func TestAnnouncement(t *testing.T) {
	c := e2e.In(t, "default")
	c.Apply(`
apiVersion: cilium.io/v2alpha1
kind: CiliumL2AnnouncementPolicy
metadata: {name: announced}
spec:
  serviceSelector: {matchLabels: {gateway.networking.k8s.io/gateway-name: announced}}
  interfaces: [^eth]
  loadBalancerIPs: true
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: announced, namespace: default}
spec:
  gatewayClassName: cilium
  listeners: [{name: http, port: 80, protocol: HTTP}]
`)
	address := addressOf(c, "announced")
	c.Sandbox("exec", "ext", "ip", "route", "replace", address, "dev", "br0")
	t.Cleanup(func() { c.Sandbox("exec", "ext", "ip", "route", "flush", address) })
	for i := range times(5, 1) {
		t.Run(fmt.Sprint("take-over ", i+1), func(t *testing.T) {
			on := *c
			on.T = t
			takenOver(&on, address)
		})
	}
}

// takenOver switches off the node that announces an address, until the test ends.
func takenOver(c *e2e.Test, address string) {
	// Without a route Envoy itself answers, whatever becomes of backends.
	ask := e2e.Request{URL: base(address), Timeout: 500 * time.Millisecond}
	ext := c.From("ext")
	ext.OK(ask, 404)
	port := c.Get("service/cilium-gateway-announced", "{.spec.ports[0].nodePort}")
	for _, node := range c.Nodes() { // each may be the next
		ext.OK(e2e.Request{URL: "http://" + e2e.HostPort(c.NodeIP(node), port)}, 404)
	}
	ask.Rate, ask.Workers = 50, 25
	load := ext.Load(ask)
	load.More(50)
	first, over := announcer(c)
	if !slices.Contains(c.Nodes(), first) {
		c.Fatalf("the Lease is held by %q", first)
	}
	foundAt(c, address, first)
	c.Sandbox("kill", first)
	killed := time.Now()
	c.Cleanup(func() { c.Sandbox("start", first) })
	var next string
	c.Eventually("another node has the Lease", func() error {
		holder, until := announcer(c)
		if holder == first {
			over = until
		}
		if holder == first || holder == "" {
			return fmt.Errorf("it is %q's", holder)
		}
		next = holder
		return nil
	})
	load.More(100)
	last, again := around(killed, load.Stop(), 404)
	if last.IsZero() || again.IsZero() {
		c.Fatalf("the last answer before was at %s, the first one after at %s", last, again)
	}
	back := again.Sub(over)
	c.Logf("%s took over from %s: the address was away for %s, and answered %s after the Lease's end", next, first, again.Sub(last), back)
	if most := mostTakeOver + busy(); back > most {
		c.Errorf("the address answered %s after the Lease's end, want at most %s", back, most)
	}
	foundAt(c, address, next)
}

// announcer is the node that has the Gateway's Lease, and when that is over if it
// is not renewed.
func announcer(c *e2e.Test) (node string, over time.Time) {
	c.Helper()
	text := c.Kubectl("-n", system, "get", "lease/cilium-l2announce-default-cilium-gateway-announced", "-o",
		"jsonpath={.spec.holderIdentity} {.spec.renewTime} {.spec.leaseDurationSeconds}")
	f := strings.Split(text, " ")
	renewed, err := time.Parse(time.RFC3339Nano, f[1])
	seconds, bad := strconv.Atoi(f[2])
	if err != nil || bad != nil {
		c.Fatalf("the Lease is %q", text)
	}
	return f[0], renewed.Add(time.Duration(seconds) * time.Second)
}

// foundAt expects that the client outside finds an address at a node.
func foundAt(c *e2e.Test, address, node string) {
	c.Helper()
	seen := c.Sandbox("exec", "ext", "ip", "neigh", "show", "to", address, "dev", "br0")
	device := c.Sandbox("exec", node, "cat", "/sys/class/net/eth0/address")
	if !strings.Contains(seen, strings.TrimSpace(device)) {
		c.Errorf("ext finds %s at %q; %s has %q", address, seen, node, device)
	}
}

// around are the beginnings of the last request before a moment, and of the
// first after it, that were answered with the status; zero: of none.
func around(moment time.Time, all e2e.Responses, status int) (last, first time.Time) {
	for _, r := range all {
		switch {
		case r.Status != status:
		case r.Start.Before(moment):
			if r.Start.After(last) {
				last = r.Start
			}
		case first.IsZero() || r.Start.Before(first):
			first = r.Start
		}
	}
	return last, first
}
