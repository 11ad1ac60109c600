package standalone_test

import (
	"fmt"
	"testing"
)

func TestHostnames(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("exact wild deeper any")
		m.route("exact", `
			hostnames: [a.example.com, b.example.com]
			rules: [{backendRefs: [{name: exact, port: 80}]}]
			`)
		m.route("wild", `
			hostnames: ["*.example.com"]
			rules: [{backendRefs: [{name: wild, port: 80}]}]
			`)
		m.route("deeper", `
			hostnames: ["*.deep.example.com"]
			rules: [{matches: [{path: {value: /deep}}], backendRefs: [{name: deeper, port: 80}]}]
			`)
		m.route("any", `
			rules: [{backendRefs: [{name: any, port: 80}]}]
			`)
		m.answers(`
			http://a.example.com/               → exact
			http://b.example.com/               → exact
			http://c.example.com/               → wild
			http://x.y.example.com/             → wild
			http://x.deep.example.com/deep      → deeper
			http://x.deep.example.com/          → 404
			http://deep.example.com/deep        → wild
			http://example.com/                 → any
			http://aexample.com/                → any
			http://example.org/                 → any
			/                                   → any
			`)
	})
}

// TestHostsAsWritten: a host means the same with capitals, a port, a trailing
// dot or all of them, whatever takes it; the backend sees it as it was sent.
func TestHostsAsWritten(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("exact wild any")
		m.route("exact", `
			hostnames: [a.example.com]
			rules: [{backendRefs: [{name: exact, port: 80}]}]
			`)
		m.route("wild", `
			hostnames: ["*.example.com"]
			rules: [{backendRefs: [{name: wild, port: 80}]}]
			`)
		m.route("any", `rules: [{backendRefs: [{name: any, port: 80}]}]`)
		for host, by := range map[string]string{"a.example.com": "exact", "b.example.com": "wild", "c.example.org": "any"} {
			m.answers(fmt.Sprintf("http://%s/ → %s", host, by))
			capitals := replace(host, "e", "E", "c", "C")
			for _, sent := range []string{
				host, capitals, host + ":80", host + ":20080", host + ":9", host + ".", capitals + ".:8080",
			} {
				a := m.get("/ | Host: " + sent)
				if a.by() != by {
					t.Errorf("Host: %s is answered by %s, want %s", sent, a.by(), by)
				} else if a.Seen.Host != sent {
					t.Errorf("Host: %s arrives as %s", sent, a.Seen.Host)
				}
			}
		}
	})
}

// TestNoHost: HTTP/1.0 needs no Host; only the catch-all can take that.
func TestNoHost(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("named any")
		m.route("named", `
			hostnames: [a.example.com]
			rules: [{backendRefs: [{name: named, port: 80}]}]
			`)
		m.answers(`http://a.example.com/ → named`)
		if a := m.raw("GET / HTTP/1.0\r\n\r\n"); a.by() != "404" {
			t.Errorf("without catch-all: %s, want 404", a.by())
		}
		if a := m.raw("GET / HTTP/1.0\r\nHost: a.example.com\r\n\r\n"); a.by() != "named" {
			t.Errorf("with Host: %s, want named", a.by())
		}
		m.route("any", `rules: [{backendRefs: [{name: any, port: 80}]}]`)
		m.answers(`/ → any`)
		if a := m.raw("GET / HTTP/1.0\r\n\r\n"); a.by() != "any" {
			t.Errorf("with catch-all: %s, want any", a.by())
		}
		if a := m.raw("GET / HTTP/1.1\r\n\r\n"); a.Status != 400 {
			t.Errorf("HTTP/1.1 without Host: %d, want 400", a.Status)
		}
	})
}

// TestIntersection: a route serves the hosts that it and the listener have in
// common, under the narrower name.
func TestIntersection(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a")
		m.gateway(`
			listeners:
			- {name: wild, protocol: HTTP, port: 80, hostname: "*.example.com"}
			- {name: exact, protocol: HTTP, port: 81, hostname: www.example.org}
			`)
		m.route("a", `
			hostnames: [a.example.com, "*.example.org", "*.deep.example.com", example.net, example.com]
			rules: [{backendRefs: [{name: a, port: 80}]}]
			`)
		m.answers(`
			http://a.example.com/        → a
			http://b.example.com/        → 404
			http://x.deep.example.com/   → a
			http://example.net/          → 404
			http://example.com/          → 404
			http://x.example.org/        → 404
			http://www.example.org:81/   → a
			http://x.example.org:81/     → 404
			http://a.example.com:81/     → 404
			`)
		m.route("none", `
			hostnames: [example.net]
			rules: [{backendRefs: [{name: a, port: 80}]}]
			`)
		m.awaitCondition("HTTPRoute none, parent gw: Accepted=False NoMatchingListenerHostname")
	})
}

// TestListenersOfOnePort: the most specific listener takes a host, with the
// routes that are attached to it and no others.
func TestListenersOfOnePort(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("exact wild any")
		m.gateway(`
			listeners:
			- {name: any, protocol: HTTP, port: 80}
			- {name: wild, protocol: HTTP, port: 80, hostname: "*.example.com"}
			- {name: exact, protocol: HTTP, port: 80, hostname: a.example.com}
			`)
		for _, name := range []string{"any", "wild", "exact"} {
			m.route(name, fmt.Sprintf(`
				parentRefs: [{name: gw, sectionName: %s}]
				rules: [{matches: [{path: {value: /%[1]s}}], backendRefs: [{name: %[1]s, port: 80}]}]
				`, name))
		}
		m.answers(`
			http://a.example.com/exact   → exact
			http://a.example.com/wild    → 404
			http://a.example.com/any     → 404
			http://b.example.com/wild    → wild
			http://b.example.com/any     → 404
			http://example.org/any       → any
			http://example.org/wild      → 404
			`)
	})
}

// TestPortsHaveTablesOfTheirOwn: sectionName and port choose among listeners.
func TestPortsHaveTablesOfTheirOwn(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("one two both")
		m.gateway(`
			listeners:
			- {name: one, protocol: HTTP, port: 80}
			- {name: two, protocol: HTTP, port: 8080}
			`)
		m.route("one", `
			parentRefs: [{name: gw, sectionName: one}]
			rules: [{matches: [{path: {value: /x}}], backendRefs: [{name: one, port: 80}]}]
			`)
		m.route("two", `
			parentRefs: [{name: gw, port: 8080}]
			rules: [{matches: [{path: {value: /x}}], backendRefs: [{name: two, port: 80}]}]
			`)
		m.route("both", `
			rules: [{matches: [{path: {value: /both}}], backendRefs: [{name: both, port: 80}]}]
			`)
		m.answers(`
			/x                              → one
			http://example.com:8080/x       → two
			/both                           → both
			http://example.com:8080/both    → both
			/                               → 404
			http://example.com:8080/        → 404
			`)
		m.route("nowhere", `
			parentRefs: [{name: gw, sectionName: one, port: 8080}]
			rules: [{backendRefs: [{name: both, port: 80}]}]
			`)
		m.awaitCondition("HTTPRoute nowhere, parent gw/one:8080: Accepted=False NoMatchingParent")
	})
}

// TestSeveralParents: a route may be attached to several Gateways.
func TestSeveralParents(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a")
		m.hasty(m.client) // it is to ask at two addresses
		m.gateway(webGateway)
		other := nextAddress()
		m.apply("other", `
			apiVersion: gateway.networking.k8s.io/v1beta1
			kind: Gateway
			metadata: {name: other, namespace: NAMESPACE}
			spec:
			  gatewayClassName: cilium
			  addresses: [{type: IPAddress, value: `+other.String()+`}]
			  listeners: [{name: http, protocol: HTTP, port: 80, hostname: other.example.com}]
			`)
		m.route("a", `
			parentRefs: [{name: gw}, {name: other}]
			rules: [{backendRefs: [{name: a, port: 80}]}]
			`)
		m.answers(`http://other.example.com/ → a`)
		m.address = other
		m.answers(`
			http://other.example.com/ → a
			http://x.example.com/     → 404
			`)
	})
}
