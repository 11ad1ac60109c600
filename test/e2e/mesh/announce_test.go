package mesh

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/test/e2e"
)

// TestAnnouncement: who is on the nodes' segment finds a Gateway's address at
// the node that has its Lease, and within 3 s at another node when that one is
// switched off. The chart is installed with Leases of 2 s.
func TestAnnouncement(t *testing.T) {
	c := e2e.In(t, "default")
	const lease = "lease/cilium-l2announce-default-cilium-gateway-announced"
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
	ext := c.From("ext")
	// Without a route Envoy itself answers, whatever becomes of backends.
	ask := e2e.Request{URL: base(address), Timeout: 500 * time.Millisecond}
	ext.OK(ask, 404)

	holder := func() string {
		return c.Kubectl("-n", "kube-system", "get", lease, "-o", "jsonpath={.spec.holderIdentity}")
	}
	first := holder()
	if !slices.Contains(c.Nodes(), first) {
		t.Fatalf("the Lease is held by %q", first)
	}
	where := func(node string) error {
		seen := c.Sandbox("exec", "ext", "ip", "neigh", "show", "to", address, "dev", "br0")
		device := c.Sandbox("exec", node, "cat", "/sys/class/net/eth0/address")
		if !strings.Contains(seen, strings.TrimSpace(device)) {
			return fmt.Errorf("ext finds %s at %q; %s has %q", address, seen, node, device)
		}
		return nil
	}
	if err := where(first); err != nil {
		t.Error(err)
	}

	load := ext.Load(e2e.Request{URL: ask.URL, Timeout: 500 * time.Millisecond, Rate: 50, Workers: 25})
	load.More(50)
	c.Sandbox("kill", first)
	t.Cleanup(func() { c.Sandbox("start", first) })
	c.Eventually("another node has the Lease", func() error {
		if now := holder(); now == first || now == "" {
			return fmt.Errorf("it is %q's", now)
		}
		return nil
	})
	load.More(100)
	if away := longestGap(load.Stop(), 404); away > within() {
		t.Errorf("the address was away for %s", away)
	} else {
		t.Logf("the address was away for %s", away)
	}
	if err := where(holder()); err != nil {
		t.Error(err)
	}
}

// within is what a take-over may take: 3 s on a machine that does nothing else.
func within() time.Duration {
	if os.Getenv("WAGGLE_LONG") != "" {
		return 3 * time.Second
	}
	return 10 * time.Second
}

// longestGap is the longest time between the beginnings of two requests that
// were answered with the status.
func longestGap(all e2e.Responses, status int) (longest time.Duration) {
	var starts []time.Time
	for _, r := range all {
		if r.Status == status {
			starts = append(starts, r.Start)
		}
	}
	slices.SortFunc(starts, time.Time.Compare)
	for i := 1; i < len(starts); i++ {
		longest = max(longest, starts[i].Sub(starts[i-1]))
	}
	return longest
}
