package manifest

import (
	"fmt"
	"strings"
	"testing"
)

// typicalRoute is an HTTPRoute as people write them.
func typicalRoute(i int) string {
	return fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: route-%[1]d
  namespace: shop
  labels:
    app: shop
spec:
  parentRefs:
  - name: front
    sectionName: http
  hostnames:
  - host-%[1]d.example.com
  rules:
  - name: api
    matches:
    - path:
        type: PathPrefix
        value: /api
      headers:
      - name: x-version
        value: "2"
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier:
        set:
        - name: x-route
          value: route-%[1]d
    timeouts:
      request: 10s
    backendRefs:
    - name: api-v1
      port: 8080
      weight: 90
    - name: api-v2
      port: 8080
      weight: 10
  - matches:
    - path:
        type: PathPrefix
        value: /
    backendRefs:
    - name: web
      port: 8080
`, i)
}

func BenchmarkHTTPRoute(b *testing.B) {
	w := newWorld()
	text := []byte(typicalRoute(1))
	for b.Loop() {
		d := w.bindings.read(text)
		if len(d.objects) != 1 || d.objects[0].value == nil {
			b.Fatal(d)
		}
	}
}

func fiveThousand() string {
	var text strings.Builder
	for i := range 5000 {
		text.WriteString("---\n" + typicalRoute(i))
	}
	return text.String()
}
