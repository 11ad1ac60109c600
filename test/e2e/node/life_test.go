package node

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/test/e2e"
)

// After a power cut of everything the cluster is what it was.
func TestPowerCut(t *testing.T) {
	c := e2e.New(t)
	c.Apply("testdata/web.yaml")
	c.Wait("deployment/web", "Available")
	nodes := c.Nodes()
	c.Client(nodes[0]).OK(e2e.Request{URL: "http://web"}, 200)
	all := append([]string{"cp"}, nodes...)
	c.Sandbox(append([]string{"kill"}, all...)...)
	c.Sandbox(append([]string{"start"}, all...)...)
	c.Sandbox("wait")
	agentsReady(c)
	c.Wait("deployment/web", "Available")
	for _, n := range nodes {
		client := c.Client(n)
		client.OK(e2e.Request{URL: "http://web"}, 200)
		c.NoFailures(client.Do(e2e.Request{URL: "http://web", Count: 100}))
	}
}

// What agents have made on a node, waggle cleanup takes away: nothing is left
// of it.
func TestCleanup(t *testing.T) {
	c := e2e.New(t)
	nodes := c.Nodes()
	node := nodes[len(nodes)-1]
	waggle := buildAgent(c)
	for _, n := range nodes {
		c.Kubectl("label", "node", n, "waggle.test/agent=true", "--overwrite")
	}
	selector := func(value string) {
		c.Kubectl("-n", "kube-system", "patch", "daemonset/cilium", "-p", `{"spec":{"template":{"spec":{"nodeSelector":`+value+`}}}}`)
	}
	t.Cleanup(func() {
		selector(`{"waggle.test/agent":null}`)
		c.Kubectl("label", "node", node, "waggle.test/agent=true", "--overwrite")
		c.Kubectl("uncordon", node)
		agentsReady(c)
	})
	selector(`{"waggle.test/agent":"true"}`)
	agentsReady(c)

	without := func() {
		c.Kubectl("cordon", node)
		c.Kubectl("label", "node", node, "waggle.test/agent-")
		c.Eventually("no pods on "+node, func() error {
			pods := strings.Fields(c.Kubectl("get", "pods", "--all-namespaces", "--field-selector", "spec.nodeName="+node, "-o",
				`jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} {end}`))
			for _, pod := range pods {
				namespace, name, _ := strings.Cut(pod, "/")
				c.Attempt("-n", namespace, "delete", "pod", name, "--grace-period=1", "--wait=false")
			}
			if len(pods) > 0 {
				return fmt.Errorf("%s", pods)
			}
			return nil
		})
		c.Sandbox("exec", node, waggle, "cleanup")
	}
	with := func() {
		c.Kubectl("uncordon", node)
		c.Kubectl("label", "node", node, "waggle.test/agent=true")
		agentsReady(c)
	}
	without()
	c.Sandbox("kill", node)
	c.Sandbox("start", node)
	var before string
	c.Eventually("the node has begun", func() error {
		before = c.Traces(node)
		if !strings.Contains(before, "KUBE-KUBELET-CANARY") || strings.Contains(before, "tentative") {
			return fmt.Errorf("the kubelet or the kernel is not done: %s", before)
		}
		return nil
	})
	with()
	c.Apply("testdata/web.yaml")
	c.Wait("deployment/web", "Available")
	c.Client(node).OK(e2e.Request{URL: "http://web"}, 200)
	if with := e2e.Others(c.Traces(node), before); !strings.Contains(with, "from_pod") || !strings.Contains(with, "lxc") {
		t.Errorf("an agent that runs leaves only these traces:\n%s", with)
	}
	without()
	after := c.Traces(node)
	if left := e2e.Others(after, before); left != "" {
		t.Errorf("cleanup has left\n%s", left)
	}
	if lost := e2e.Others(before, after); lost != "" {
		t.Errorf("there was before, and is gone\n%s", lost)
	}
}
