package mesh

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/test/e2e"
)

// Definitions of an earlier version, which lack a field and a status: what
// cannot be stored is said, what is served goes on, and when the definition is
// today's again all is as it should be, without a restart.
func TestOlderDefinition(t *testing.T) {
	c := e2e.New(t)
	c.Apply(gatewayOf("before", ""))
	request := e2e.Request{URL: base(addressOf(c, "before"))}
	pods := c.Kubectl("-n", system, "get", "pods", "-o", restarts)

	const name = "customresourcedefinition/ciliumenvoyconfigs.cilium.io"
	definition := c.Remember(name)
	c.Cleanup(func() { c.Put(definition) })
	const version = "/spec/versions/0/"
	c.Kubectl("patch", name, "--type=json", "-p", fmt.Sprintf(`[{"op": "remove", "path": %q}, {"op": "remove", "path": %q}]`,
		version+"subresources", version+"schema/openAPIV3Schema/properties/spec/properties/services/items/properties/ports"))
	c.Apply(gatewayOf("during", ""))
	c.Eventually("the operator says what is not kept", func() error {
		log := c.Kubectl("-n", system, "logs", "deployment/cilium-operator", "--all-pods=true", "--since=2m")
		if !strings.Contains(log, "does not keep all that is written") {
			return fmt.Errorf("%s", log)
		}
		return nil
	})
	c.Wait("gateway/during", "Programmed=False")
	c.From("ext").OK(request, 404)

	c.Put(definition)
	during := addressOf(c, "during")
	c.From("ext").OK(e2e.Request{URL: base(during)}, 404)
	c.From("ext").OK(request, 404)
	if after := c.Kubectl("-n", system, "get", "pods", "-o", restarts); after != pods {
		c.Errorf("pods have been started again: %s, before %s", after, pods)
	}
}
