package mesh

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/test/e2e"
)

// inAgent runs a command in the agent's container on a node.
func inAgent(c *e2e.Test, node string, command ...string) string {
	c.Helper()
	pod := c.Kubectl("-n", system, "get", "pods", "-l", "k8s-app=cilium", "--field-selector", "spec.nodeName="+node, "-o", "jsonpath={.items[0].metadata.name}")
	return c.Kubectl(append([]string{"-n", system, "exec", pod, "-c", "cilium-agent", "--"}, command...)...)
}

// waggle runs the program that has installed what is tested, and returns what it
// printed and its exit code.
func waggle(c *e2e.Test, args ...string) (text string, code int) {
	c.Helper()
	cmd := exec.Command(filepath.Join(e2e.Root(), "bin", "waggle"), args...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		c.Fatalf("waggle %v: %v", args, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// words are a text's, with one space between two.
func words(text string) string { return strings.Join(strings.Fields(text), " ") }

// Users' commands, of the cluster.
func TestClusterCommands(t *testing.T) {
	c := e2e.New(t)
	c.Apply(gatewayOf("shown", ""))
	address := addressOf(c, "shown")
	for _, r := range []struct {
		command, says string
		code          int
	}{
		{"status", "Envoy DaemonSet: OK", 0},
		{"status --wait", "Cilium: OK", 0},
		{"config view", "enable-gateway-api true", 0},
		{"gateway list", c.Namespace + " shown", 0},
		{"gateway show " + c.Namespace + "/shown", address, 0},
		{"connectivity test", `unknown command "connectivity"`, 2},
	} {
		if got, code := waggle(c, strings.Fields(r.command)...); code != r.code || !strings.Contains(words(got), r.says) {
			t.Errorf("waggle %s: exit code %d, want %d, and %q in\n%s", r.command, code, r.code, r.says, got)
		}
	}
}

// What the Envoy of each node was given of an object, and where it leads, asked
// from outside of the cluster.
func TestNodeCommands(t *testing.T) {
	c := e2e.In(t, "default")
	application(c)
	c.Apply(own(t).file("rewrite/lb-listener.yaml"))
	c.Wait("ccec/envoy-lb-listener", "Programmed")
	backend := e2e.HostPort(c.Kubectl("get", "pods", "-l", "name=echo-service-1", "-o", "jsonpath={.items[0].status.podIP}"), "8080")
	for _, node := range c.Nodes() {
		for _, r := range []struct{ command, says string }{
			{"envoy clusters", "default/echo-service-1::" + backend + "::health_flags::healthy"},
			{"envoy listeners", "envoy-lb-listener"},
			{"envoy config", `"regex": "^/foo.*$"`},
			{"envoy stats --filter=rewrite", "http.rewrite."},
			{"cec list", "envoy-lb-listener"},
			{"cec explain echo-service-1", backend},
			{"network", "fwmark 0x200/0xf00 lookup 2004"},
		} {
			if got, code := waggle(c, append(strings.Fields(r.command), "--node", node)...); code != 0 || !strings.Contains(got, r.says) {
				t.Errorf("waggle %s --node %s: exit code %d, want %q in\n%.5000s", r.command, node, code, r.says, got)
			}
		}
	}
	if got, code := waggle(c, "envoy", "clusters", "--node", "nowhere"); code == 0 || !strings.Contains(got, "nowhere") {
		t.Errorf("waggle envoy clusters of a node that is not there: exit code %d\n%s", code, got)
	}
}

// In the agent's container cilium and cilium-dbg are the same as waggle, and
// show the Gateway's address with the listener that it is led to.
func TestCommands(t *testing.T) {
	c := e2e.New(t)
	c.Apply(gatewayOf("shown", ""))
	address := addressOf(c, "shown")
	for _, node := range c.Nodes() {
		for _, command := range []string{"waggle", "cilium", "cilium-dbg"} {
			if got := inAgent(c, node, command, "status"); !strings.Contains(got, node) {
				t.Errorf("%s status on %s:\n%s", command, node, got)
			}
			if got := inAgent(c, node, command, "status", "--wait"); !strings.Contains(got, node) {
				t.Errorf("%s status --wait on %s:\n%s", command, node, got)
			}
			if got := inAgent(c, node, command, "config", "view"); !strings.Contains(words(got), "enable-gateway-api true") {
				t.Errorf("%s config view on %s:\n%s", command, node, got)
			}
		}
		services := inAgent(c, node, "cilium-dbg", "map", "get", "cilium_lb4_services_v2")
		led := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(address+":80/TCP") + ` .*\(L7LB Proxy Port: \d+\)`)
		if !led.MatchString(services) {
			t.Errorf("the map on %s does not lead %s to a listener:\n%s", node, address, services)
		}
	}
}
