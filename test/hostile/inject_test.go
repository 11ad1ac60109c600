package hostile

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/agent"
)

// injections are rules that try to make a header or a message of their own by
// ending a line; LINE stands for the end.
var injections = map[string]string{
	"request-set":      `filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-a, value: "aLINEx-injected: yes"}]}}], BACKEND`,
	"request-add":      `filters: [{type: RequestHeaderModifier, requestHeaderModifier: {add: [{name: x-a, value: "aLINEx-injected: yes"}]}}], BACKEND`,
	"request-name":     `filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: "x-a: bLINEx-injected", value: "yes"}]}}], BACKEND`,
	"response-set":     `filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-a, value: "aLINEx-injected: yes"}]}}], BACKEND`,
	"response-message": `filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-a, value: "aLINELINEx-injected"}]}}], BACKEND`,
	"backend-set":      `backendRefs: [{name: backend, port: 80, filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-a, value: "aLINEx-injected: yes"}]}}]}]`,
	"rewrite-host":     `filters: [{type: URLRewrite, urlRewrite: {hostname: "aLINEx-injected: yes"}}], BACKEND`,
	"rewrite-path":     `filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: "/ HTTP/1.1LINEx-injected: yes"}}}], BACKEND`,
	"redirect-host":    `filters: [{type: RequestRedirect, requestRedirect: {hostname: "aLINEx-injected: yes"}}]`,
	"redirect-path":    `filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: "/aLINEx-injected: yes"}}}]`,
	"cors":             `filters: [{type: CORS, cors: {allowOrigins: ["*"], exposeHeaders: ["aLINEx-injected: yes"]}}], BACKEND`,
}

var lineEnds = map[string]string{"crlf": `\r\n`, "cr": `\r`, "lf": `\n`}

// TestNothingIsInjected asks a real Envoy for hosts whose routes try to end a
// line in a header, and looks at what the backend and the client receive.
func TestNothingIsInjected(t *testing.T) {
	for _, tables := range []agent.RouteTables{agent.Plain, agent.Scoped} {
		t.Run(string(tables), func(t *testing.T) {
			m := startMesh(t, tables)
			c := newClient(m, false)
			ask := func(name string) *http.Response {
				t.Helper()
				r, err := c.do(fmt.Sprintf("http://%s.inject.example|%s1:%d/", name, m.network, m.offset+80))
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				return r
			}
			var names []string
			for kind, rule := range injections {
				for end, text := range lineEnds {
					name := kind + "-" + end
					names = append(names, name)
					m.write("inject/"+name+".yaml", []byte(injection(name, strings.ReplaceAll(rule, "LINE", text))))
				}
			}
			// What can be sent shows that the others would have been seen.
			m.write("inject/fine.yaml", []byte(injection("fine", strings.ReplaceAll(injections["request-set"], "LINE", " "))))
			m.eventually("the refusals", func() error {
				said := m.said(m.status())
				for _, name := range names {
					bad := false
					for _, o := range said["inject/"+name+".yaml"] {
						bad = bad || o.bad
					}
					if !bad {
						return fmt.Errorf("nothing is said against %s", name)
					}
				}
				return nil
			})
			m.eventually("the route that can be sent", func() error {
				if got := ask("fine").Header.Get("Received-X-A"); got != "a x-injected: yes" {
					return fmt.Errorf("the backend has received %q", got)
				}
				return nil
			})
			for _, name := range names {
				for header, values := range ask(name).Header {
					if strings.Contains(strings.ToLower(header+strings.Join(values, " ")), "injected") {
						t.Errorf("%s: %s: %q", name, header, values)
					}
				}
			}
		})
	}
}

// injection is a route with one rule, of a host of its own.
func injection(name, rule string) string {
	return fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: inject-%[1]s, namespace: hostile}
spec:
  parentRefs: [{name: gateway, namespace: neighbour}]
  hostnames: [%[1]s.inject.example]
  rules: [{%[2]s}]
`, name, strings.ReplaceAll(rule, "BACKEND", "backendRefs: [{name: backend, port: 80}]"))
}
