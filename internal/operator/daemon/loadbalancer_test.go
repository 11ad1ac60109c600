package daemon

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
)

const (
	poolsPath    = "/apis/cilium.io/v2/ciliumloadbalancerippools/"
	servicesPath = "/api/v1/namespaces/default/services/"
)

func putService(api *kubetest.Server, name, kind, has string) {
	o := kubetest.Object{"kind": "Service", "apiVersion": "v1", "spec": kubetest.Object{
		"type": kind, "ipFamilies": []any{"IPv4"}, "ports": []any{kubetest.Object{"port": 80, "protocol": "TCP"}},
	}}
	if has != "" {
		o["status"] = kubetest.Object{"loadBalancer": kubetest.Object{"ingress": []any{kubetest.Object{"ip": has}}}}
	}
	api.Put(servicesPath+name, o)
}

func statusOf(api *kubetest.Server, path string) string {
	text, _ := json.Marshal(api.Get(path)["status"])
	return string(text)
}

// TestAddresses: Services of type LoadBalancer are given addresses and told
// why they have none; one that becomes another type loses its own; what others
// wrote of a Service that was never ours stays; and when all is said nothing
// more is written, not by the next operator either.
func TestAddresses(t *testing.T) {
	api := kubetest.New(t)
	putService(api, "a", "LoadBalancer", "")
	putService(api, "others", "ClusterIP", "203.0.113.9")
	api.Put(poolsPath+"blue", kubetest.Object{"kind": "CiliumLoadBalancerIPPool", "apiVersion": "cilium.io/v2",
		"spec": kubetest.Object{"blocks": []any{kubetest.Object{"cidr": "192.0.2.1/32"}}}})
	lbipam := func(o *Options) { o.LBIPAM, o.DefaultLBServiceIPAM = true, "lbipam" }
	o := start(t, api, lbipam)
	has := func(path, text string) func() bool {
		return func() bool { return strings.Contains(statusOf(api, path), text) }
	}
	until(t, "a has the address", has(servicesPath+"a", `"192.0.2.1"`))
	until(t, "a is told so", has(servicesPath+"a", `"reason":"satisfied","status":"True","type":"io.cilium/lb-ipam-request-satisfied"`))
	until(t, "the pool is full", func() bool { return available(api) == "0" })
	putService(api, "b", "LoadBalancer", "")
	until(t, "b is told why it has none", has(servicesPath+"b", `"reason":"out_of_ips"`))

	a := api.Get(servicesPath + "a")
	a["spec"].(kubetest.Object)["type"] = "ClusterIP"
	api.Put(servicesPath+"a", a)
	until(t, "a has no address", has(servicesPath+"a", `"ingress":[]`))
	until(t, "b has it", has(servicesPath+"b", `"192.0.2.1"`))
	if !strings.Contains(statusOf(api, servicesPath+"others"), "203.0.113.9") {
		t.Errorf("another's address is gone: %s", statusOf(api, servicesPath+"others"))
	}

	o.end()
	writes(api)
	again := start(t, api, lbipam)
	until(t, "the next operator leads", func() bool { s := again.status(); return s.Leads && s.OK() })
	if again := writes(api); again != nil {
		t.Errorf("the next operator wrote %v", again)
	}
}

// available is how many addresses the pool has, as its status says.
func available(api *kubetest.Server) string {
	status, _ := api.Get(poolsPath + "blue")["status"].(kubetest.Object)
	conditions, _ := status["conditions"].([]any)
	for _, c := range conditions {
		if c, _ := c.(kubetest.Object); c["type"] == "cilium.io/IPsAvailable" {
			return c["message"].(string)
		}
	}
	return ""
}

// writes are all since the last call, but those of Leases.
func writes(api *kubetest.Server) (out []string) {
	for _, asked := range api.Asked() {
		if !strings.HasPrefix(asked, "GET ") && !strings.Contains(asked, "/leases") {
			out = append(out, asked)
		}
	}
	return out
}
