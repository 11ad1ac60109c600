// Package node tests what Waggle's agent shows and promises, on a cluster whose
// pods and Services are its alone.
package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/test/e2e"
)

func TestMain(m *testing.M) { e2e.Main(m, "-cni-conf", "none", "-kube-proxy", "none") }

// agentOf is the agent's pod on a node.
func agentOf(c *e2e.Test, node string) string {
	return c.Kubectl("-n", "kube-system", "get", "pods", "-l", "k8s-app=cilium", "--field-selector", "spec.nodeName="+node, "-o", "jsonpath={.items[0].metadata.name}")
}

func waggle(c *e2e.Test, node string, args ...string) string {
	return c.Kubectl(append([]string{"-n", "kube-system", "exec", agentOf(c, node), "--", "/usr/bin/waggle"}, args...)...)
}

// Every pod has a CiliumEndpoint with its addresses and an identity, which
// pods that are alike share; the commands show the same.
func TestIdentities(t *testing.T) {
	t.Parallel()
	c := e2e.New(t)
	c.Apply("testdata/web.yaml")
	c.Wait("deployment/web", "Available")
	c.Wait("deployment/other", "Available")
	seen := map[string]map[string]bool{}
	for _, pod := range strings.Fields(c.Kubectl("get", "pods", "-o", "jsonpath={.items[*].metadata.name}")) {
		var identity string
		c.Eventually("an identity of "+pod, func() error {
			if identity = c.Get("ciliumendpoint/"+pod, "{.status.identity.id}"); identity == "" {
				return fmt.Errorf("state %s", c.Get("ciliumendpoint/"+pod, "{.status.state}"))
			}
			return nil
		})
		app := c.Get("pod/"+pod, "{.metadata.labels.app}")
		if seen[app] == nil {
			seen[app] = map[string]bool{}
		}
		seen[app][identity] = true
		addressing := c.Get("ciliumendpoint/"+pod, "{.status.networking.addressing[0]}")
		for _, ip := range strings.Fields(c.Get("pod/"+pod, "{.status.podIPs[*].ip}")) {
			if !strings.Contains(addressing, `"`+ip+`"`) {
				t.Errorf("%s has %s, its CiliumEndpoint %s", pod, ip, addressing)
			}
		}
		node := c.Get("pod/"+pod, "{.spec.nodeName}")
		if list := waggle(c, node, "endpoint", "list"); !strings.Contains(list, c.Namespace+"/"+pod) || !strings.Contains(list, identity) {
			t.Errorf("endpoint list on %s lacks %s or %s:\n%s", node, pod, identity, list)
		}
		if labels := c.Get("ciliumidentity/"+identity, "{.security-labels}"); !strings.Contains(labels, `"k8s:app":"`+app+`"`) {
			t.Errorf("identity %s has labels %s", identity, labels)
		}
	}
	if len(seen["web"]) != 1 || len(seen["other"]) != 1 {
		t.Errorf("identities %v, want one of each app", seen)
	}
	for id := range seen["web"] {
		if seen["other"][id] {
			t.Errorf("web and other share identity %s", id)
		}
	}
}

// A Service without endpoints is refused at once, not after a timeout.
func TestNoEndpoints(t *testing.T) {
	t.Parallel()
	c := e2e.New(t)
	c.Apply("apiVersion: v1\nkind: Service\nmetadata: {name: empty}\nspec: {selector: {app: nobody}, ports: [{port: 80}]}\n")
	client := c.Client("")
	c.Eventually("a refusal", func() error {
		begin := time.Now()
		r := client.Get("http://empty")
		if took := time.Since(begin); r.Error == "" || !strings.Contains(r.Error, "refused") && !strings.Contains(r.Error, "not permitted") && !strings.Contains(r.Error, "unreachable") {
			return fmt.Errorf("after %s: %d %s", took, r.Status, r.Error)
		}
		return nil
	})
}

// Fields without effect are in the status and an event.
func TestUnsupported(t *testing.T) {
	t.Parallel()
	c := e2e.New(t)
	c.Apply("apiVersion: v1\nkind: Service\nmetadata: {name: sticky}\nspec: {sessionAffinity: ClientIP, selector: {app: nobody}, ports: [{port: 80}]}\n")
	c.Eventually("an event", func() error {
		if events := c.Kubectl("get", "events", "--field-selector", "reason=UnsupportedField", "-o", "jsonpath={.items[*].message}"); !strings.Contains(events, "spec.sessionAffinity") {
			return fmt.Errorf("events: %q", events)
		}
		return nil
	})
	if status := waggle(c, c.Nodes()[0], "status"); !strings.Contains(status, c.Namespace+"/sticky") {
		t.Errorf("status:\n%s", status)
	}
}
