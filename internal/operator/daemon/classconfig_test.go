package daemon

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
)

// classConfig has settings of Gateways' Services.
func classConfig(service string) []byte {
	return fmt.Appendf(nil, "kind: CiliumGatewayClassConfig\napiVersion: cilium.io/v2alpha1\nmetadata: {namespace: infra, name: c}\nspec: {service: %s}\n", service)
}

// withClassConfig makes class cilium name that.
const withClassConfig = `kind: GatewayClass
apiVersion: gateway.networking.k8s.io/v1
metadata: {name: cilium}
spec: {controllerName: io.cilium/gateway-controller, parametersRef: {group: cilium.io, kind: CiliumGatewayClassConfig, namespace: infra, name: c}}
`

// classConfigs is an operator with a Gateway of a class with settings.
type classConfigs struct {
	t        *testing.T
	api      *kubetest.Server
	operator *running
}

const gatewayServicePath = "/api/v1/namespaces/shop/services/cilium-gateway-web"

func startClassConfigs(t *testing.T) classConfigs {
	c := classConfigs{t: t, api: kubetest.New(t)}
	c.operator = start(t, c.api, nil)
	apply(t, c.api, []byte(`kind: Node
apiVersion: v1
metadata: {name: n1}
status: {conditions: [{type: Ready, status: "True"}], addresses: [{type: InternalIP, address: 10.0.0.1}, {type: InternalIP, address: 'fd00::1'}]}
---
kind: Node
apiVersion: v1
metadata: {name: n2}
status: {conditions: [{type: Ready, status: "True"}], addresses: [{type: InternalIP, address: 10.0.0.2}, {type: ExternalIP, address: 203.0.113.2}]}
`), false)
	settled(t, c.api, 0)
	apply(t, c.api, []byte(withClassConfig), false)
	return c
}

// says waits until the operator has said something of the class or the Gateway.
func (c classConfigs) says(text string) {
	c.t.Helper()
	until(c.t, text, func() bool { return strings.Contains(cluster(c.api), text) })
}

// service waits until the Gateway's Service has a text in its spec.
func (c classConfigs) service(text string) {
	c.t.Helper()
	spec := []byte(nil)
	until(c.t, text, func() bool {
		service := c.api.Get(gatewayServicePath)
		if service == nil {
			return false
		}
		var err error
		spec, err = json.Marshal(service["spec"])
		return err == nil && strings.Contains(string(spec), text)
	})
}

func (c classConfigs) choose(service string) {
	c.t.Helper()
	apply(c.t, c.api, classConfig(service), false)
}

// TestClassConfig: what a class's CiliumGatewayClassConfig says of Services is
// done, followed when it changes, and taken back.
func TestClassConfig(t *testing.T) {
	c := startClassConfigs(t)
	c.says("GatewayClass cilium: Accepted=False InvalidParameters")
	c.choose("{type: NodePort, externalTrafficPolicy: Local}")
	c.says("GatewayClass cilium: Accepted\n")
	c.says("CiliumGatewayClassConfig infra/c: Accepted\n")
	c.says("Service shop/cilium-gateway-web, NodePort")
	c.service(`"externalTrafficPolicy":"Local"`)
	c.says("Gateway shop/web at [{10.0.0.1} {203.0.113.2} {fd00::1}]")

	c.choose("{type: NodePort, ipFamilies: [IPv4], ipFamilyPolicy: SingleStack}")
	c.says("Gateway shop/web at [{10.0.0.1} {203.0.113.2}]")
	c.service(`"externalTrafficPolicy":"Cluster","ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack"`)

	c.choose("{type: ClusterIP}")
	c.says("Service shop/cilium-gateway-web, ClusterIP")
	c.service(`"ipFamilyPolicy":"PreferDualStack"`)
	if _, there := c.api.Get(gatewayServicePath)["spec"].(kubetest.Object)["externalTrafficPolicy"]; there {
		t.Error("a Service of type ClusterIP has an externalTrafficPolicy, which the API server refuses")
	}
	service := c.api.Get(gatewayServicePath)
	service["spec"].(kubetest.Object)["clusterIPs"] = []any{"10.96.0.7"}
	c.api.Put(gatewayServicePath, service)
	c.says("Gateway shop/web at [{10.96.0.7}]")

	c.choose("{loadBalancerClass: example.com/a, loadBalancerSourceRanges: [192.0.2.0/24], allocateLoadBalancerNodePorts: false, trafficDistribution: PreferClose}")
	c.says("Service shop/cilium-gateway-web, LoadBalancer")
	c.service(`"allocateLoadBalancerNodePorts":false`)
	c.service(`"loadBalancerClass":"example.com/a","loadBalancerSourceRanges":["192.0.2.0/24"]`)
	c.service(`"trafficDistribution":"PreferClose"`)

	c.choose("{type: LoadBalancer, telemetry: 1, loadBalancerSourceRanges: [here]}")
	c.says("GatewayClass cilium: Accepted=False InvalidParameters")
	c.says("CiliumGatewayClassConfig infra/c: Accepted=False InvalidParameters")
	c.api.Remove(classConfigPath)
	apply(t, c.api, []byte(strings.Split(withClassConfig, ", parametersRef")[0]+"}\n"), false)
	c.says("GatewayClass cilium: Accepted\n")
	c.service(`"externalTrafficPolicy":"Cluster","ipFamilyPolicy":"PreferDualStack","ports"`)
}

// TestClassConfigAnew: what the API server never changes of a Service is had by
// making the Service again.
func TestClassConfigAnew(t *testing.T) {
	c := startClassConfigs(t)
	uid := func() any { return kubetest.Meta(c.api.Get(gatewayServicePath))["uid"] }
	c.choose("{externalTrafficPolicy: Local}")
	c.service(`"externalTrafficPolicy":"Local"`)
	first := uid()
	c.choose("{loadBalancerClass: example.com/a}")
	c.service(`"loadBalancerClass":"example.com/a"`)
	second := uid()
	c.choose("{loadBalancerClass: example.com/a, ipFamilies: [IPv4]}")
	c.service(`"ipFamilies":["IPv4"]`)
	if third := uid(); first == second || second != third {
		t.Errorf("the Service was %v, %v with a class, and %v with a family", first, second, third)
	}
	c.choose("{ipFamilies: [IPv6, IPv4]}")
	c.service(`"ipFamilies":["IPv6","IPv4"]`)
	if _, there := c.api.Get(gatewayServicePath)["spec"].(kubetest.Object)["loadBalancerClass"]; there || uid() == second {
		t.Error("the Service is the one that it was")
	}
}

// TestClassConfigAnewRefused: a Service is not deleted for one that the API server
// refuses; what others have written of it is the next one's, too.
func TestClassConfigAnewRefused(t *testing.T) {
	c := startClassConfigs(t)
	c.choose("{externalTrafficPolicy: Local}")
	c.service(`"externalTrafficPolicy":"Local"`)
	had := c.api.Get(gatewayServicePath)
	kubetest.Meta(had)["annotations"].(kubetest.Object)["example.com/others"] = "stay"
	c.api.Put(gatewayServicePath, had)
	asked := make(chan struct{}, 100)
	c.api.Refuse(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/services") {
			return false
		}
		kubetest.Answer(w, 422, "Invalid")
		select {
		case asked <- struct{}{}:
		default:
		}
		return true
	})
	c.choose("{loadBalancerClass: example.com/a, ipFamilies: [IPv6]}")
	for range 2 {
		<-asked
	}
	uid := kubetest.Meta(had)["uid"]
	if now := c.api.Get(gatewayServicePath); now == nil || kubetest.Meta(now)["uid"] != uid {
		t.Fatalf("the Service was deleted before it was known that another would be made; it is %v", now)
	}
	c.api.Refuse(nil)
	c.service(`"loadBalancerClass":"example.com/a"`)
	meta := kubetest.Meta(c.api.Get(gatewayServicePath))
	if meta["uid"] == uid || meta["annotations"].(kubetest.Object)["example.com/others"] != "stay" {
		t.Errorf("the Service, made anew, has lost what others have written: %v", meta)
	}
}

// TestClassConfigAnewOnce: a Service that a webhook makes another of than the class
// chooses is not made again and again.
func TestClassConfigAnewOnce(t *testing.T) {
	c := startClassConfigs(t)
	c.choose("{externalTrafficPolicy: Local}")
	c.service(`"externalTrafficPolicy":"Local"`)
	c.api.Drop(func(path string, o kubetest.Object) {
		if path == gatewayServicePath {
			if spec, ok := o["spec"].(kubetest.Object); ok { // else a patch of the status
				spec["loadBalancerClass"] = "example.com/webhook"
			}
		}
	})
	c.choose("{loadBalancerClass: example.com/a}")
	c.service(`"loadBalancerClass":"example.com/webhook"`)
	uid := kubetest.Meta(c.api.Get(gatewayServicePath))["uid"]
	c.api.Asked()
	writes := []string(nil)
	until(t, "it is written again", func() bool {
		writes = append(writes, c.api.Asked()...)
		return slices.Contains(writes, "PUT "+gatewayServicePath)
	})
	if now := kubetest.Meta(c.api.Get(gatewayServicePath))["uid"]; now != uid || slices.Contains(writes, "DELETE "+gatewayServicePath) {
		t.Errorf("the Service %v is %v after %q", uid, now, writes)
	}
}

// TestNoClassConfigs: without the kind, classes that name an object of it are
// not accepted, all others are served, and all are when it appears.
func TestNoClassConfigs(t *testing.T) {
	api := kubetest.New(t)
	api.Refuse(kubetest.Lacks("ciliumgatewayclassconfigs"))
	start(t, api, nil)
	settled(t, api, 1)
	apply(t, api, []byte(strings.Replace(withClassConfig, "{name: cilium}", "{name: chosen}", 1)), false)
	says := func(text string) {
		t.Helper()
		until(t, text, func() bool { return strings.Contains(cluster(api), text) })
	}
	says("GatewayClass chosen: Accepted=False InvalidParameters")
	says("GatewayClass cilium: Accepted\n")
	api.Refuse(nil)
	apply(t, api, classConfig("{type: NodePort}"), false)
	says("GatewayClass chosen: Accepted\n")
}
