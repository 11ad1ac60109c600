package node

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/test/e2e"
)

// What an agent cannot work with it names; what is on the node goes on; with
// the mistake mended it works.
func TestMisconfigured(t *testing.T) {
	for _, m := range []struct{ name, flag, says string }{
		{"no cgroup2", "--cgroup-root=/nowhere", "cgroup2"},
		{"no bpf file system", "--bpf-root=/nowhere", "bpf"},
		{"no such device", "--device=wan7", "wan7"},
	} {
		t.Run(m.name, func(t *testing.T) {
			c, _, load := asked(t)
			command := c.Kubectl("-n", "kube-system", "get", "daemonset/cilium", "-o", "jsonpath={.spec.template.spec.containers[0].command}")
			t.Cleanup(func() { setCommand(c, command); agentsReady(c) })
			setCommand(c, strings.TrimSuffix(command, "]")+fmt.Sprintf(",%q]", m.flag))
			c.Eventually("an agent that says what is wrong", func() error {
				logs := c.Attempt("-n", "kube-system", "logs", "-l", "k8s-app=cilium", "--tail=5", "--prefix")
				if !strings.Contains(logs, m.says) || !strings.Contains(logs, "nowhere") && !strings.Contains(logs, m.flag[strings.Index(m.flag, "=")+1:]) {
					return fmt.Errorf("logs: %s", logs)
				}
				return nil
			})
			setCommand(c, command)
			agentsReady(c)
			c.NoFailures(load.Stop())
		})
	}
}

// asked is a Service whose backends a pod of the first node asks all the time.
func asked(t *testing.T) (c *e2e.Test, node string, load *e2e.Load) {
	t.Helper()
	c = e2e.New(t)
	c.Apply("testdata/web.yaml")
	c.Wait("deployment/web", "Available")
	node = c.Nodes()[0]
	client := c.Client(node)
	client.OK(e2e.Request{URL: "http://web"}, 200)
	return c, node, client.Load(e2e.Request{URL: "http://web", Rate: 20})
}

func setCommand(c *e2e.Test, command string) {
	c.Kubectl("-n", "kube-system", "patch", "daemonset/cilium", "--type=json",
		"-p", `[{"op": "replace", "path": "/spec/template/spec/containers/0/command", "value": `+command+`}]`)
}

// A second agent waits, and says for whom; when the first has ended it has the
// node, until it ends itself.
func TestSecondAgent(t *testing.T) {
	c, node, load := asked(t)
	second := takesOver(c, node)
	c.Client(node).OK(e2e.Request{URL: "http://web"}, 200)
	second.stop()
	agentsReady(c)
	c.NoFailures(load.Stop())
	c.Client(node).OK(e2e.Request{URL: "http://web"}, 200)
}

// readOnlySysctls runs a command that can write no sysctl.
var readOnlySysctls = []string{"unshare", "--mount", "--propagation", "slave", "sh", "-c",
	`mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec "$0" "$@"`}

// An agent that may not write sysctls says which one; what is on the node goes
// on, and no pod starts with other settings than it needs. One that may puts all
// right.
func TestSysctlsRefused(t *testing.T) {
	c, node, load := asked(t)
	without := takesOver(c, node, readOnlySysctls...)
	const setting = "/proc/sys/net/ipv4/conf/all/send_redirects"
	c.Sandbox("exec", node, "sh", "-c", "echo 1 >"+setting)
	without.says("net.ipv4.conf.all.send_redirects")
	c.Apply(fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: late}\nspec: {nodeName: %s, containers: [{name: probe, image: \"sandbox.test/probe:1\"}]}\n", node))
	c.Eventually("an event that says why the pod does not start", func() error {
		events := c.Kubectl("get", "events", "--field-selector", "reason=FailedCreatePodSandBox,involvedObject.name=late", "-o", "jsonpath={.items[*].message}")
		if !strings.Contains(events, "sysctl") || !strings.Contains(events, "read-only file system") {
			return fmt.Errorf("events: %q", events)
		}
		return nil
	})
	without.stop()
	agentsReady(c)
	c.Wait("pod/late", "Ready")
	if got := c.Sandbox("exec", node, "cat", setting); got != "0" {
		t.Errorf("%s is %s", setting, got)
	}
	c.NoFailures(load.Stop())
}

// A node without spec.podCIDRs, which the sandbox gives to its nodes once, has an
// agent that waits and says for what; once it gets them its pods start.
func TestNoPodCIDR(t *testing.T) {
	c := e2e.New(t)
	c.Apply("testdata/web.yaml")
	c.Wait("deployment/web", "Available")
	nodes := c.Nodes()
	node := nodes[len(nodes)-1]
	ranges := c.Get("node/"+node, "{.spec.podCIDRs}")
	first, _, _ := strings.Cut(strings.TrimPrefix(ranges, "["), ",")
	c.Sandbox("kill", node)
	c.Kubectl("delete", "node", node)
	c.Sandbox("start", node)
	c.Eventually("an agent that waits", func() error {
		if out := c.Attempt("-n", "kube-system", "logs", "-l", "k8s-app=cilium"); !strings.Contains(out, "spec.podCIDRs of node "+node) {
			return fmt.Errorf("logs: %s", out)
		}
		return nil
	})
	c.Kubectl("patch", "node", node, "-p", `{"spec":{"podCIDR":`+strings.TrimSuffix(first, "]")+`,"podCIDRs":`+ranges+`}}`)
	c.Wait("node/"+node, "Ready")
	agentsReady(c)
	c.Client(node).OK(e2e.Request{URL: "http://web"}, 200)
}
