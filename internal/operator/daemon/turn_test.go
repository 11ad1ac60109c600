package daemon

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
)

// TestTurns: a route does not wait for hundreds that another namespace has at
// the same Gateway.
func TestTurns(t *testing.T) {
	const many = 400
	api := kubetest.New(t)
	start(t, api, nil)
	settled(t, api, 0)
	apply(t, api, []byte(`kind: Gateway
apiVersion: gateway.networking.k8s.io/v1
metadata: {namespace: shop, name: web}
spec: {gatewayClassName: cilium, listeners: [{name: http, protocol: HTTP, port: 80, allowedRoutes: {namespaces: {from: All}}}]}
`), false)
	api.Refuse(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet {
			time.Sleep(5 * time.Millisecond) // an API server's time
		}
		return false
	})
	const parts = "/apis/cilium.io/v2/namespaces/shop/ciliumenvoyconfigs/"
	before := len(api.Paths(parts))
	for i := range many {
		route := strings.Replace(string(routeTo("web", i, fmt.Sprintf("h%d.example.com", i))), "namespace: shop", "namespace: many", 1)
		apply(t, api, []byte(strings.Replace(route, "{name: web}", "{name: web, namespace: shop}", 1)), false)
	}
	until(t, "the first of many is written", func() bool { return len(api.Paths(parts)) > before })
	apply(t, api, routeTo("web", 0, "mine.example.com"), false)
	until(t, "the one is written", func() bool {
		for _, path := range api.Paths(parts) {
			if strings.Contains(fmt.Sprint(api.Get(path)), "mine.example.com") {
				return api.Get("/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/r0")["status"] != nil
			}
		}
		return false
	})
	if written := len(api.Paths(parts)) - before; written > many*3/4 {
		t.Errorf("it waited for %d of %d", written, many)
	}
}
