package gateway

import (
	"fmt"
	"testing"

	"github.com/waggle-mesh/waggle/internal/model"
)

// BenchmarkHTTPRoute is the cost of one edited route: its row, and the
// virtual host that it feeds.
func BenchmarkHTTPRoute(b *testing.B) {
	in := parse(b, benchObjects)
	parent := in.stage.Gateway(in, in.gateways[0]).Parent()
	w := cachedParent{in, parent}
	b.ReportAllocs()
	for b.Loop() {
		r := in.stage.HTTPRoute(w, in.routes[0])
		for _, a := range r.Attachments {
			VirtualHost(a.Table, a.Host, []Attachment{{Table: a.Table, Host: a.Host}, a})
		}
	}
}

// BenchmarkVirtualHost is the cost of a host that many routes share.
func BenchmarkVirtualHost(b *testing.B) {
	for _, n := range []int{1, 100, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			in := parse(b, benchObjects)
			a := in.stage.HTTPRoute(in, in.routes[0]).Attachments[0]
			all := make([]Attachment, n)
			for i := range all {
				all[i] = a
				all[i].Route.Name.Name = fmt.Sprint("route-", i*7919%n)
			}
			b.ReportAllocs()
			for b.Loop() {
				VirtualHost(a.Table, a.Host, all)
			}
		})
	}
}

// cachedParent is a World that, as the graph does, keeps Gateways' rows.
type cachedParent struct {
	*objects
	parent Parent
}

func (c cachedParent) Parent(model.Name) (Parent, bool) { return c.parent, true }

const benchObjects = `
kind: Gateway
metadata: {name: gw}
spec: {gatewayClassName: cilium, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
kind: Service
metadata: {name: svc}
spec: {ports: [{port: 80}]}
---
kind: HTTPRoute
metadata: {name: a}
spec:
  parentRefs: [{name: gw}]
  hostnames: [a.example.com]
  rules:
  - matches: [{path: {value: /a}, headers: [{name: version, value: one}]}]
    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: b}]}}]
    backendRefs: [{name: svc, port: 80}]
  - matches: [{path: {type: RegularExpression, value: "/v[0-9]+/.*"}}]
    backendRefs: [{name: svc, port: 80, weight: 90}, {name: svc, port: 80, weight: 10}]
`
