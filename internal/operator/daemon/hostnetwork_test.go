package daemon

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
)

// TestHostNetwork: Gateways answer at the addresses of the nodes that have a
// label, where their listeners are bound; no other node is waited for.
func TestHostNetwork(t *testing.T) {
	api := kubetest.New(t)
	start(t, api, func(o *Options) { o.HostNetwork, o.HostNodes = true, map[string]string{"edge": "yes"} })
	node := func(name, label, addresses string) {
		apply(t, api, fmt.Appendf(nil, `kind: Node
apiVersion: v1
metadata: {name: %s, labels: {edge: %q}}
status: {conditions: [{type: Ready, status: "True"}], addresses: %s}
`, name, label, addresses), false)
	}
	answers := func(node, configs string) {
		apply(t, api, fmt.Appendf(nil, "kind: EnvoyNode\napiVersion: waggle.io/v1alpha1\nmetadata: {name: %s}\nconfigs: [%s]\n", node, configs), false)
	}
	for _, name := range []string{"n1", "n2", "n3"} {
		answers(name, "")
	}
	node("n3", "no", "[{type: InternalIP, address: 10.0.0.3}]")
	settled(t, api, 0)
	gateway := func() string { return strings.Split(cluster(api), "Gateway shop/web at ")[1] }
	until(t, "it is said that there is no node", func() bool { return strings.HasPrefix(gateway(), "[]: Accepted, Programmed=False AddressNotAssigned") })

	node("n2", "yes", "[{type: InternalIP, address: 10.0.0.2}, {type: InternalIP, address: 'fd00::2'}]")
	node("n1", "yes", "[{type: InternalIP, address: 10.0.0.1}, {type: ExternalIP, address: 203.0.113.1}]")
	until(t, "the addresses are those of the nodes", func() bool { return strings.HasPrefix(gateway(), "[{10.0.0.2} {203.0.113.1} {fd00::2}]") })

	const main = "/apis/cilium.io/v2/namespaces/shop/ciliumenvoyconfigs/cilium-gateway-web"
	until(t, "the listener is bound in both families", func() bool {
		text, err := json.Marshal(api.Get(main)["spec"])
		return err == nil && strings.Contains(string(text), `"address":{"socketAddress":{"address":"0.0.0.0","portValue":80}}`) &&
			strings.Contains(string(text), `{"address":{"socketAddress":{"address":"::","portValue":80}}}`) &&
			strings.Contains(string(text), `"nodeSelector":{"matchLabels":{"edge":"yes"}}`) && !strings.Contains(string(text), `"services"`)
	})
	service := api.Get("/api/v1/namespaces/shop/services/cilium-gateway-web")
	if kind := service["spec"].(kubetest.Object)["type"]; kind != "ClusterIP" {
		t.Errorf("the Service is of type %v", kind)
	}
	const made = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/cilium-gateway-web"
	leads := func(path, want string) {
		t.Helper()
		until(t, path+" has "+want, func() bool {
			slice := api.Get(path)
			text, err := json.Marshal(kubetest.Object{"addressType": slice["addressType"], "endpoints": slice["endpoints"], "ports": slice["ports"]})
			return err == nil && strings.Contains(string(text), want)
		})
	}
	endpoint := func(address, node string) string {
		return fmt.Sprintf(`{"addresses":[%q],"conditions":{"ready":true},"nodeName":%q}`, address, node)
	}
	const port = `"ports":[{"name":"port-80","port":80,"protocol":"TCP"}]}`
	leads(made, `"IPv4","endpoints":[`+endpoint("10.0.0.1", "n1")+`,`+endpoint("10.0.0.2", "n2")+`],`+port)
	leads(made+".ipv6", `"IPv6","endpoints":[`+endpoint("fd00::2", "n2")+`],`+port)
	if selector := kubetest.Meta(service)["annotations"].(kubetest.Object)["service.cilium.io/node-selector"]; selector != "edge=yes" {
		t.Errorf("the Service selects the nodes %v", selector)
	}

	programmed := func() bool { return strings.Contains(gateway(), "listener http, 0 routes: Accepted, Programmed\n") }
	answered := fmt.Sprintf("{namespace: shop, name: cilium-gateway-web, generation: %v}", kubetest.Meta(api.Get(main))["generation"])
	answers("n1", answered)
	answers("n3", answered)
	until(t, "one of the two has answered", func() bool { return strings.Contains(gateway(), "Programmed=False Pending") })
	answers("n2", answered)
	until(t, "both have", programmed)

	node("n1", "no", "[{type: InternalIP, address: 10.0.0.1}]")
	leads(made, `"IPv4","endpoints":[`+endpoint("10.0.0.2", "n2")+`],`+port)
}
