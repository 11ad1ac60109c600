package mesh

import (
	"fmt"
	"os"
	"path/filepath"
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
	class := "{apiVersion: cilium.io/v2alpha1, kind: CiliumGatewayClassConfig, metadata: {name: refused}, spec: {service: {type: ClusterIP, externalTrafficPolicy: Local}}}\n"
	if got := c.Refused(class); !strings.Contains(got, "externalTrafficPolicy Local needs type LoadBalancer or NodePort") {
		t.Errorf("settings of a class that contradict each other: %s", got)
	}
}

// With the token of a node's agent nobody writes in another node's name, or more
// of its own Node than annotations.
func TestOwnNode(t *testing.T) {
	c := e2e.New(t)
	nodes := c.Nodes()
	own, other := nodes[0], nodes[len(nodes)-1]
	asAgent := asAgentOf(c, own)
	file := func(text string, of []any) string {
		name := filepath.Join(t.TempDir(), "object.yaml")
		if err := os.WriteFile(name, fmt.Appendf(nil, text, of...), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	// Without reading first, as "kubectl patch" does and agents need not.
	patch := func(text string, of ...any) []string {
		return []string{"apply", "--server-side", "--subresource=status", "--validate=false", "--dry-run=server", "-f", file(text, of)}
	}
	made := func(text string, of ...any) []string {
		return []string{"--namespace", system, "create", "--dry-run=server", "-f", file(text, of)}
	}
	const (
		annotated = "{apiVersion: v1, kind: Node, metadata: {name: %s, annotations: {network.cilium.io/e2e: x}}}"
		labelled  = "{apiVersion: v1, kind: Node, metadata: {name: %s, labels: {e2e: x}}}"
		ended     = "{apiVersion: v1, kind: Node, metadata: {name: %s}, status: {phase: Terminated}}"
		envoyNode = "{apiVersion: waggle.io/v1alpha1, kind: EnvoyNode, metadata: {name: %s}}"
		lease     = "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: e2e, labels: {%s}}, spec: {holderIdentity: %s, leaseDurationSeconds: 1}}"
		announced = "waggle.io/l2-announcement: ''"
	)
	for _, r := range []struct {
		what, says string
		command    []string
	}{
		{"its Node", "applied", patch(annotated, own)},
		{"another Node", "its own node alone", patch(annotated, other)},
		{"its Node's labels", "but for annotations", patch(labelled, own)},
		{"its Node's status", "but for annotations", patch(ended, own)},
		{"its Node's spec", `cannot patch resource "nodes"`, []string{"patch", "node/" + own, "--dry-run=server", "--patch", `{"spec":{"unschedulable":true}}`}},
		{"its EnvoyNode", "already exists", made(envoyNode, own)},
		{"another EnvoyNode", "its own node alone", made(envoyNode, other)},
		{"a Lease of announcements", "created", made(lease, announced, own)},
		{"one for another", "takes Leases for its own node", made(lease, announced, other)},
		{"another's Lease", "Leases of announcements alone", made(lease, "", own)},
		{"the operators' Lease", "Leases of announcements alone", []string{"--namespace", system, "delete", "lease/cilium-operator-resource-lock", "--dry-run=server"}},
	} {
		if got := asAgent(r.command...); !strings.Contains(got, r.says) {
			t.Errorf("%s: %s, want %q", r.what, got, r.says)
		}
	}
	nodeless := append([]string{"--as", "system:serviceaccount:" + system + ":cilium"}, patch(annotated, other)...)
	if got := c.Attempt(nodeless...); !strings.Contains(got, "applied") {
		t.Errorf("a token that names no node: %s", got)
	}
}

// asAgentOf gives a kubectl with a token as the agent of the node has one.
func asAgentOf(c *e2e.Test, node string) func(args ...string) string {
	c.Helper()
	pod := c.Kubectl("--namespace", system, "get", "pods", "--selector", "k8s-app=cilium", "--field-selector", "status.phase=Running,spec.nodeName="+node, "-o", "jsonpath={.items[0].metadata.name}")
	token := c.Kubectl("--namespace", system, "create", "token", "cilium", "--bound-object-kind=Pod", "--bound-object-name="+pod)
	cluster := c.Kubectl("config", "view", "--raw", "--flatten", "-o", "jsonpath={.clusters[0].cluster}")
	file := filepath.Join(c.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "agent"}}],
		"clusters": [{"name": "c", "cluster": %s}], "users": [{"name": "agent", "user": {"token": %q}}]}`, cluster, token)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		c.Fatal(err)
	}
	return func(args ...string) string {
		c.Helper()
		return c.Attempt(append([]string{"--kubeconfig", file}, args...)...)
	}
}
