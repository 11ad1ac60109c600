package daemon

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
)

const gatewayPath = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/gateways/web"

// TestRefused: an object that the API server refuses is named by its Gateway,
// with the field and what the API server says; that costs no write at further
// tries, nor when another operator begins, and ends when it is taken.
func TestRefused(t *testing.T) {
	for resource, kind := range map[string]string{
		"services": "Service", "endpointslices": "EndpointSlice", "ciliumenvoyconfigs": "CiliumEnvoyConfig",
	} {
		t.Run(resource, func(t *testing.T) {
			t.Parallel()
			api := kubetest.New(t)
			tried := make(chan struct{}, 1000)
			api.Refuse(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPost || path.Base(r.URL.Path) != resource {
					return false
				}
				kubetest.AnswerInvalid(w, "spec.here", "is not to the liking of this test")
				tried <- struct{}{}
				return true
			})
			first := start(t, api, nil)
			settled(t, api, 0)
			object := kind + " shop/cilium-gateway-web"
			wanted := object + ": the API server refuses it: spec.here: is not to the liking of this test"
			if kind == "CiliumEnvoyConfig" {
				wanted += "; others are refused as well"
			}
			says := func() bool {
				text, err := json.Marshal(api.Get(gatewayPath)["status"])
				return err == nil && strings.Contains(string(text), `"reason":"NoResources","status":"False","type":"Programmed"`) &&
					strings.Contains(string(text), wanted)
			}
			until(t, "the Gateway says "+wanted, says)
			for writes(api); len(tried) > 0; {
				<-tried
			}
			for range 3 {
				<-tried
			}
			saysNothingNew(t, api, "while it tries again")

			first.end()
			start(t, api, nil)
			apply(t, api, fmt.Appendf(nil, "kind: HTTPRoute\napiVersion: gateway.networking.k8s.io/v1\nmetadata: {namespace: shop, name: elsewhere}\nspec: {parentRefs: [{name: web, sectionName: none}]}\n"), false)
			until(t, "statuses have had their turn", func() bool { return strings.Contains(cluster(api), "Accepted=False NoMatchingParent") })
			saysNothingNew(t, api, "when another begins")

			api.Refuse(nil)
			until(t, "the object is there", func() bool { return strings.Contains(cluster(api), object) })
			until(t, "the Gateway says so no more", func() bool { return strings.Contains(cluster(api), "Programmed=False AddressNotAssigned") })
		})
	}
}

// TestRefusedPart: what the API server refuses of a host is said by its routes,
// too, once, and as long as that is so.
func TestRefusedPart(t *testing.T) {
	api := kubetest.New(t)
	start(t, api, nil)
	settled(t, api, 1)
	tried := make(chan struct{}, 1000)
	api.Refuse(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || path.Base(r.URL.Path) != "ciliumenvoyconfigs" {
			return false
		}
		kubetest.AnswerInvalid(w, "spec.here", "is not to the liking of this test")
		tried <- struct{}{}
		return true
	})
	apply(t, api, routeTo("web", 1, "h1.example.com"), false)
	says := func(route string) string {
		text, err := json.Marshal(api.Get(routePath + route)["status"])
		if err != nil {
			return err.Error()
		}
		return string(text)
	}
	until(t, "the route says it", func() bool {
		said := says("r1")
		return strings.Contains(said, `"reason":"NoResources","status":"False","type":"Programmed"`) &&
			strings.Contains(said, "the API server refuses it: spec.here: is not to the liking of this test") &&
			strings.Contains(said, `"reason":"Accepted","status":"True"`)
	})
	if said := says("r0"); strings.Contains(said, "Programmed") {
		t.Errorf("a route of another host says %s", said)
	}
	for writes(api); len(tried) > 0; {
		<-tried
	}
	for range 3 {
		<-tried
	}
	if all := writes(api); slices.Contains(all, "PUT "+routePath+"r1/status") {
		t.Errorf("the same is said again: %q", all)
	}
	api.Refuse(nil)
	until(t, "the route is served and says so no more", func() bool {
		return strings.Contains(cluster(api), "host h1.") && !strings.Contains(says("r1"), "Programmed")
	})
}

// saysNothingNew fails if the Gateway's status has been written.
func saysNothingNew(t *testing.T, api *kubetest.Server, when string) {
	t.Helper()
	if all := writes(api); slices.Contains(all, "PUT "+gatewayPath+"/status") {
		t.Errorf("%s, the Gateway's status is written: %q", when, all)
	}
}
