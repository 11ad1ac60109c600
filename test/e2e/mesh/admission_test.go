package mesh

import (
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/test/e2e"
)

// The label that exempts an object from what its author may not do is the
// operator's alone, and so are the objects that have it.
func TestForgery(t *testing.T) {
	c := e2e.New(t)
	tenant := own(t).text(t, "tenant.yaml")
	c.Apply(tenant)
	const says = "labels that begin with cec.waggle.io/ are for the operator's own objects"
	refused := func(what, got, reason string) {
		t.Helper()
		if !strings.Contains(got, reason) || !strings.Contains(got, "ValidatingAdmissionPolicy") {
			t.Errorf("%s: %s", what, got)
		}
	}
	refused("made with the label", c.Refused(strings.Replace(tenant, "{name: tenant}", "{name: forged, labels: {cec.waggle.io/generated-for: x}}", 1)), says)
	refused("clusterwide", c.Refused(strings.NewReplacer("{name: tenant}", "{name: forged, labels: {cec.waggle.io/generated-for: x}}", "kind: CiliumEnvoyConfig", "kind: CiliumClusterwideEnvoyConfig").Replace(tenant)), says)
	refused("added later", c.Attempt("label", "cec/tenant", "cec.waggle.io/generated-for=x"), says)
	refused("another such label", c.Attempt("label", "cec/tenant", "cec.waggle.io/part-of=x"), says)
	if got := c.Attempt("label", "cec/tenant", "team=bees"); !strings.Contains(got, "labeled") {
		t.Errorf("a label of one's own: %s", got)
	}

	c.Apply(gatewayOf("kept", ""))
	addressOf(c, "kept")
	refused("the operator's changed", c.Attempt("patch", "cec/cilium-gateway-kept", "--type=merge", "-p", `{"spec":{"services":[]}}`), "this object is the operator's")
	refused("the label removed", c.Attempt("label", "cec/cilium-gateway-kept", "cec.waggle.io/generated-for-"), says)
	refused("the label changed", c.Attempt("label", "--overwrite", "cec/cilium-gateway-kept", "cec.waggle.io/generated-for=x"), says)
	if got := c.Attempt("--as", "system:serviceaccount:kube-system:cilium-operator", "label", "--overwrite", "cec/cilium-gateway-kept", "cec.waggle.io/generated-for=cilium-gateway-kept"); !strings.Contains(got, "label") || strings.Contains(got, "denied") {
		t.Errorf("the operator itself: %s", got)
	}
}

// What the API server can tell without Envoy's types it refuses.
func TestRefused(t *testing.T) {
	c := e2e.New(t)
	tenant := own(t).text(t, "tenant.yaml")
	for _, r := range []struct{ what, old, new, says string }{
		{"unknown type", "envoy.config.listener.v3.Listener", "envoy.config.listener.v3.Listeners", `each of resources needs an "@type"`},
		{"another namespace's Service", "{name: web}", "{name: kube-dns, namespace: kube-system}", "services of a CiliumEnvoyConfig are in its own namespace"},
		{"an address of the nodes", "name: listener", "name: listener\n    address: {socket_address: {address: 0.0.0.0, port_value: 8888}}", "a listener of a CiliumEnvoyConfig has no address"},
	} {
		if got := c.Refused(strings.Replace(tenant, r.old, r.new, 1)); !strings.Contains(got, r.says) {
			t.Errorf("%s: %s", r.what, got)
		}
	}
}
