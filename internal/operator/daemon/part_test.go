package daemon

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	waggle "github.com/waggle-mesh/waggle/api/waggle.io/v1alpha1"
	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
)

// largest is how many bytes an object may have that is made for a Gateway.
const largest = 20 << 10

// manyListeners is a Gateway with as many listeners as there may be and the
// longest name: at a port each, or with TLS at one port.
func manyListeners(t *testing.T, api *kubetest.Server, tls bool) {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/script/certificate.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range archive.Files {
		if f.Name == "secret.yaml" {
			apply(t, api, f.Data, false)
		}
	}
	var listeners []string
	for i := range 64 {
		if !tls {
			listeners = append(listeners, fmt.Sprintf("{name: l%d, protocol: HTTP, port: %d}", i, 8000+i))
			continue
		}
		host := fmt.Sprintf("h%d.example.com", i)
		listeners = append(listeners, fmt.Sprintf("{name: l%d, protocol: HTTPS, port: 443, hostname: %q, tls: {certificateRefs: [{name: cert}]}}", i, host))
	}
	apply(t, api, fmt.Appendf(nil, `kind: GatewayClass
apiVersion: gateway.networking.k8s.io/v1
metadata: {name: cilium}
spec: {controllerName: io.cilium/gateway-controller}
---
kind: Gateway
apiVersion: gateway.networking.k8s.io/v1
metadata: {namespace: shop, name: %s}
spec: {gatewayClassName: cilium, listeners: [%s]}
---
kind: Node
apiVersion: v1
metadata: {name: n1}
status: {conditions: [{type: Ready, status: "True"}]}
`, strings.Repeat("g", 253), strings.Join(listeners, ", ")), false)
}

const madeConfigs = "/apis/cilium.io/v2/namespaces/shop/ciliumenvoyconfigs/"

// madeOf are the CiliumEnvoyConfigs that were made, in JSON, by name.
func madeOf(t *testing.T, api *kubetest.Server) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, path := range api.Paths(madeConfigs) {
		text, err := json.Marshal(api.Get(path))
		if err != nil {
			t.Fatal(err)
		}
		out[strings.TrimPrefix(path, madeConfigs)] = string(text)
	}
	return out
}

// TestManyListeners: a Gateway of 64 listeners is stored in objects of a size
// that suits the API server; an edit of a route writes one of them; each
// listener is Programmed when its own objects have been answered.
func TestManyListeners(t *testing.T) {
	for name, tls := range map[string]bool{"at ports of their own": false, "with TLS at one port": true} {
		t.Run(name, func(t *testing.T) {
			api := kubetest.New(t)
			start(t, api, nil)
			manyListeners(t, api, tls)
			chain, misdirected := `"listener":`, 0 // which there is one of for each listener
			if tls {
				chain, misdirected = `"serverNames":`, 64*63 // hosts of others, for each
			}
			objects := 0
			until(t, "all is made", func() bool {
				made := madeOf(t, api)
				objects = len(made)
				all := strings.Join(slices.Collect(maps.Values(made)), "")
				return strings.Count(all, chain) == 64 && strings.Count(all, `"status":421`) == misdirected &&
					strings.Count(all, `"virtualHosts":`) >= 64 && strings.Count(cluster(api), "0 routes: Accepted") == 64
			})
			for name, text := range madeOf(t, api) {
				if len(text) > largest {
					t.Errorf("%s has %d bytes", name, len(text))
				}
			}
			if objects > 3*64 {
				t.Errorf("%d objects", objects)
			}
			programmedByParts(t, api, tls)
			editsOnePart(t, api)
		})
	}
}

// programmedByParts has the node answer all objects but one, and then that.
func programmedByParts(t *testing.T, api *kubetest.Server, tls bool) {
	t.Helper()
	service := api.Paths("/api/v1/namespaces/shop/services/")[0]
	apply(t, api, fmt.Appendf(nil, `kind: Service
apiVersion: v1
metadata: {namespace: shop, name: %s}
status: {loadBalancer: {ingress: [{ip: 172.18.0.10}]}}
`, path.Base(service)), false)
	made := madeOf(t, api)
	var with []string // listeners
	for _, name := range slices.Sorted(maps.Keys(made)) {
		if strings.Contains(made[name], `"listener":`) {
			with = append(with, name)
		}
	}
	t.Logf("%d objects, %d of them with listeners", len(made), len(with))
	answer := func(names []string) {
		node := kubetest.Object{"kind": "EnvoyNode", "apiVersion": "waggle.io/v1alpha1"}
		var configs []any
		digests := ""
		for _, name := range names {
			configs = append(configs, kubetest.Object{"namespace": "shop", "name": name, "generation": 1})
			digests += waggle.AnsweredConfig{Namespace: "shop", Name: name, Generation: 1}.Digest()
		}
		if node["configs"] = configs; tls { // as if there were many
			delete(node, "configs")
			node["digests"] = digests
		}
		api.Put("/apis/waggle.io/v1alpha1/envoynodes/n1", node)
	}
	programmed := func() int { return strings.Count(cluster(api), "routes: Accepted, Programmed\n") }
	last := len(with) - 1
	answer(with[:last])
	others := 64 - strings.Count(made[with[last]], `"listener":`)
	if tls {
		others = 0 // Envoy has one listener
	}
	until(t, "those that are answered are Programmed", func() bool { return programmed() == others })
	answer(with)
	until(t, "all are Programmed", func() bool { return programmed() == 64 })
}

// editsOnePart edits a route and counts what is written.
func editsOnePart(t *testing.T, api *kubetest.Server) {
	t.Helper()
	route := func(path string) {
		apply(t, api, fmt.Appendf(nil, `kind: HTTPRoute
apiVersion: gateway.networking.k8s.io/v1
metadata: {namespace: shop, name: r}
spec: {parentRefs: [{name: %s, sectionName: l7}], rules: [{matches: [{path: {value: %s}}]}]}
`, strings.Repeat("g", 253), path), false)
	}
	holds := func(path string) func() bool {
		return func() bool {
			return strings.Contains(strings.Join(slices.Collect(maps.Values(madeOf(t, api))), ""), path)
		}
	}
	route("/one")
	until(t, "the route is there", holds("/one"))
	writes(api) // of before
	route("/two")
	until(t, "the edit is there", holds("/two"))
	var got []string
	until(t, "nothing else is written", func() bool {
		more := writes(api)
		got = append(got, more...)
		return len(more) == 0
	})
	edited := slices.DeleteFunc(got, func(r string) bool { return !strings.Contains(r, "/ciliumenvoyconfigs") })
	if len(edited) != 1 {
		t.Errorf("an edit of a route writes %q", edited)
	}
}
