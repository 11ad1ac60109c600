package mesh

import (
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
		}
		services := inAgent(c, node, "cilium-dbg", "map", "get", "cilium_lb4_services_v2")
		led := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(address+":80/TCP") + ` .*\(L7LB Proxy Port: \d+\)`)
		if !led.MatchString(services) {
			t.Errorf("the map on %s does not lead %s to a listener:\n%s", node, address, services)
		}
	}
}
