// Package kubernetes tests what workloads expect of any Kubernetes, so that a
// failure elsewhere is the mesh's and not the cluster's. It needs no mesh.
package kubernetes

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/test/e2e"
)

func TestMain(m *testing.M) { e2e.Main(m) }

// A Deployment is rolled out to every node, found by name, and updated.
func TestDeployment(t *testing.T) {
	t.Parallel()
	c := e2e.New(t)
	c.Apply("testdata/deployment.yaml")
	c.Wait("deployment/web", "Available")
	client := c.Client("")
	for _, name := range []string{"web", "web." + c.Namespace, "web." + c.Namespace + ".svc.cluster.local"} {
		if got := client.Get("http://" + name); !strings.HasPrefix(got.Backend(), "web-") {
			t.Errorf("%s: %d %s %s", name, got.Status, got.Error, got.Body)
		}
	}
	if got := client.Get("http://nosuchservice"); !strings.Contains(got.Error, "no such host") {
		t.Errorf("a name that does not exist: %+v", got)
	}
	load := client.Load(e2e.Request{URL: "http://web", Rate: 20})
	c.Kubectl("set", "env", "deployment/web", "CHANGED=1")
	c.Kubectl("rollout", "status", "deployment/web", "--timeout=60s")
	if rs := load.Stop(); len(rs) < 10 {
		t.Errorf("only %d requests during the rollout", len(rs))
	}
}

// Programs run to their end; a failed one is tried again.
func TestJob(t *testing.T) {
	t.Parallel()
	c := e2e.New(t)
	c.Apply("testdata/job.yaml")
	c.Wait("job/three", "Complete")
	if got := c.Get("job/three", "{.status.succeeded}"); got != "3" {
		t.Errorf("%s pods succeeded, want 3", got)
	}
}

// Probes make a pod ready, keep it out of Services, and restart it.
func TestProbes(t *testing.T) {
	t.Parallel()
	c := e2e.New(t)
	c.Apply("testdata/probes.yaml")
	c.Wait("pod/ready", "Ready")
	c.Wait("pod/unready", "Ready=False")
	c.Eventually("the liveness probe restarts the container", func() error {
		if n := c.Get("pod/dying", "{.status.containerStatuses[0].restartCount}"); n == "" || n == "0" {
			return fmt.Errorf("restarts: %q", n)
		}
		return nil
	})
	ready := c.Get("pod/ready", "{.status.podIP}")
	c.Eventually("the Service has the ready pod alone", func() error {
		if got := c.Get("endpoints/probed", "{.subsets[*].addresses[*].ip}"); got != ready {
			return fmt.Errorf("endpoints %q, want %q", got, ready)
		}
		return nil
	})
}

// An agent like ours: host network, privileged, mounts that reach the node, a
// BPF file system of the node's own.
func TestNodeAgent(t *testing.T) {
	t.Parallel()
	c := e2e.New(t)
	c.Apply("testdata/agent.yaml")
	c.Kubectl("rollout", "status", "daemonset/agent", "--timeout=60s")
	for _, node := range c.Nodes() {
		mounts := c.Sandbox("exec", node, "cat", "/proc/mounts")
		if !strings.Contains(mounts, "/run/agent-"+c.Namespace) {
			t.Errorf("a Bidirectional mount does not show on %s", node)
		}
		if !strings.Contains(mounts, "bpf /sys/fs/bpf bpf") {
			t.Errorf("%s has no BPF file system of its own", node)
		}
	}
	if strings.Contains(c.Sandbox("exec", "ext", "cat", "/proc/mounts"), "/run/agent-") {
		t.Error("the mount shows outside of the nodes")
	}
	pod := c.Kubectl("get", "pods", "-l", "app=agent", "-o", "jsonpath={.items[0].metadata.name}")
	if ip, host := c.Get("pod/"+pod, "{.status.podIP}"), c.Get("pod/"+pod, "{.status.hostIP}"); ip != host {
		t.Errorf("pod address %s, want the node's %s", ip, host)
	}
}

// The API server reaches a webhook in a pod through its Service.
func TestWebhook(t *testing.T) {
	t.Parallel()
	c := e2e.New(t)
	ca := c.TLSSecret("webhook", "webhook."+c.Namespace+".svc")
	c.Apply("testdata/webhook.yaml")
	c.Wait("pod/webhook", "Ready")
	c.Apply(strings.NewReplacer("NAMESPACE", c.Namespace, "CA", base64.StdEncoding.EncodeToString([]byte(ca))).Replace(validatingWebhook))
	c.Eventually("the webhook denies", func() error {
		if out := c.Attempt("create", "configmap", "any", "--dry-run=server"); !strings.Contains(out, "denied by the webhook in a pod") {
			return fmt.Errorf("got %q", out)
		}
		return nil
	})
}

const validatingWebhook = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: NAMESPACE}
webhooks:
- name: webhook.sandbox.test
  clientConfig: {service: {name: webhook, namespace: NAMESPACE, port: 443}, caBundle: CA}
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
  sideEffects: None
  admissionReviewVersions: [v1]
`

// Pods reach the world outside under their node's address.
func TestMasquerade(t *testing.T) {
	t.Parallel()
	c := e2e.New(t)
	client := c.Client("")
	node := c.Get("pod/"+client.Name(), "{.status.hostIP}")
	world := c.World()
	got := client.Get("http://" + e2e.HostPort(world, "8080"))
	if !strings.Contains(got.Body, "client_address="+node+"\n") {
		t.Errorf("the world sees %s %s, want the node's %s", got.Error, got.Body, node)
	}
}

// A Service of each of the cluster's families answers inside and outside.
func TestFamilies(t *testing.T) {
	t.Parallel()
	c := e2e.New(t)
	c.Apply("testdata/deployment.yaml")
	c.Wait("deployment/web", "Available")
	client := c.Client("")
	for i, family := range c.Families() {
		name := "web-" + strings.ToLower(family)
		c.Apply(fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec: {type: NodePort, ipFamilies: [%s], selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}\n", name, family))
		inside := client.OK(e2e.Request{URL: "http://" + name}, 200)
		if is6 := strings.HasPrefix(inside.Remote, "["); is6 != (family == "IPv6") {
			t.Errorf("%s: connected to %s", name, inside.Remote)
		}
		port := c.Get("service/"+name, "{.spec.ports[0].nodePort}")
		c.From("ext").OK(e2e.Request{URL: "http://" + e2e.HostPort(c.NodeIPs("n1")[i], port)}, 200)
	}
}
