package daemon

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
)

const classConfigPath = "/apis/cilium.io/v2alpha1/namespaces/infra/ciliumgatewayclassconfigs/c"

// gatewayOf is a Gateway of class cilium.
func gatewayOf(name, listener string) []byte {
	return fmt.Appendf(nil, "kind: Gateway\napiVersion: gateway.networking.k8s.io/v1\nmetadata: {namespace: shop, name: %s}\nspec: {gatewayClassName: cilium, listeners: [%s]}\n", name, listener)
}

func routeOf(name string) []byte {
	return fmt.Appendf(nil, "kind: HTTPRoute\napiVersion: gateway.networking.k8s.io/v1\nmetadata: {namespace: shop, name: %[1]s}\nspec: {parentRefs: [{name: web}], hostnames: [%[1]s.example.com]}\n", name)
}

// madeObjects are all objects that were made for Gateways, and their versions.
func madeObjects(api *kubetest.Server) map[string]any {
	out := map[string]any{}
	for _, path := range api.Paths("/") {
		if strings.Contains(path, "/cilium-gateway-") || strings.Contains(path, "/cilium-sync-secret-") {
			out[path] = kubetest.Meta(api.Get(path))["resourceVersion"]
		}
	}
	return out
}

// TestHeld: while the settings of a class cannot be used, whatever was made for
// its Gateways stays as it is, also when another operator begins, and nothing is
// made; when they can, everything is as it should be by then.
func TestHeld(t *testing.T) {
	c := startClassConfigs(t)
	api := c.api
	api.Put(poolsPath+"blue", kubetest.Object{"kind": "CiliumLoadBalancerIPPool", "apiVersion": "cilium.io/v2",
		"spec": kubetest.Object{"blocks": []any{kubetest.Object{"cidr": "192.0.2.0/30"}}}})
	archive, err := txtar.ParseFile("testdata/script/certificate.txtar")
	if err != nil {
		t.Fatal(err)
	}
	apply(t, api, archive.Files[2].Data, false) // the Secret
	apply(t, api, gatewayOf("web", "{name: http, protocol: HTTP, port: 80}, {name: tls, protocol: HTTPS, port: 443, tls: {certificateRefs: [{name: cert}]}}"), false)
	apply(t, api, routeOf("one"), false)
	c.choose("{externalTrafficPolicy: Local}")
	c.service(`"externalTrafficPolicy":"Local"`)
	until(t, "all is made", func() bool { // two of each listener, two of the route; the copy, Service and slice
		return len(madeObjects(api)) == 8 && strings.Contains(cluster(api), "Gateway shop/web at [{192.0.2.0}]: Accepted")
	})
	made := madeObjects(api)
	stays := func(when string) {
		t.Helper()
		if now := madeObjects(api); !maps.Equal(now, made) {
			t.Fatalf("%s, of\n%v\nthere is\n%v", when, slices.Sorted(maps.Keys(made)), now)
		}
		if all := cluster(api); !strings.Contains(all, "Gateway shop/web at [{192.0.2.0}]: Accepted=False InvalidParameters") {
			t.Fatalf("%s, it is not said:\n%s", when, all)
		}
	}
	// A Gateway that comes is told when everything else has had its turn.
	told := func(name string) {
		t.Helper()
		apply(t, api, gatewayOf(name, "{name: http, protocol: HTTP, port: 80}"), false)
		c.says("Gateway shop/" + name + " at []: Accepted=False InvalidParameters")
	}

	c.choose("{externalTrafficPolicy: Cluster}, telemetry: {}")
	c.says("GatewayClass cilium: Accepted=False InvalidParameters")
	apply(t, api, routeOf("two"), false)
	api.Remove("/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/one")
	told("early")
	stays("with a mistake in the settings")

	c.operator.end()
	start(t, api, nil)
	told("late")
	stays("when another operator begins")

	api.Remove(classConfigPath)
	until(t, "it is said that they are gone", func() bool {
		text, err := json.Marshal(api.Get(gatewayPath))
		return err == nil && strings.Contains(string(text), "infra/c does not exist")
	})
	told("later")
	stays("without the settings")

	c.choose("{externalTrafficPolicy: Cluster}")
	c.service(`"externalTrafficPolicy":"Cluster"`)
	for _, name := range []string{"early", "late", "later"} {
		c.says("Service shop/cilium-gateway-" + name)
	}
	until(t, "routes are as they are by now", func() bool {
		all := cluster(api)
		return strings.Contains(all, "host two.example.com") && !strings.Contains(all, "host one.example.com")
	})
	if _, there := madeObjects(api)[slices.Sorted(maps.Keys(made))[0]]; !there {
		t.Error("the copy of the certificate is gone")
	}
}
