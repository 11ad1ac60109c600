package standalone_test

import (
	"testing"
)

func TestWeights(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a b c never")
		m.route("weights", `
			rules:
			- matches: [{path: {value: /weights}}]
			  backendRefs:
			  - {name: a, port: 80, weight: 70}
			  - {name: b, port: 80, weight: 20}
			  - {name: c, port: 80, weight: 10}
			  - {name: never, port: 80, weight: 0}
			- matches: [{path: {value: /default}}]
			  backendRefs: [{name: a, port: 80}, {name: b, port: 80}]
			`)
		m.expectShares(2000, "/weights", map[string]float64{"a": 70, "b": 20, "c": 10})
		m.expectShares(400, "/default", map[string]float64{"a": 50, "b": 50})
	})
}

// TestSharesWithoutBackend: what leads nowhere keeps its share, and answers
// 500; a Service without endpoints is somewhere, and answers 503.
func TestSharesWithoutBackend(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a")
		m.service("empty", "")
		m.route("shares", `
			rules:
			- matches: [{path: {value: /quarter}}]
			  backendRefs: [{name: a, port: 80, weight: 3}, {name: nobody, port: 80, weight: 1}]
			- matches: [{path: {value: /wrong-port}}]
			  backendRefs: [{name: a, port: 80, weight: 1}, {name: a, port: 81, weight: 1}]
			- matches: [{path: {value: /empty}}]
			  backendRefs: [{name: empty, port: 80}]
			- matches: [{path: {value: /half-empty}}]
			  backendRefs: [{name: a, port: 80}, {name: empty, port: 80}]
			- matches: [{path: {value: /zero}}]
			  backendRefs: [{name: a, port: 80, weight: 0}]
			- matches: [{path: {value: /none}}]
			- matches: [{path: {value: /nobody}}]
			  backendRefs: [{name: nobody, port: 80}]
			- matches: [{path: {value: /bucket}}]
			  backendRefs: [{group: example.com, kind: Bucket, name: a}]
			`)
		m.answers(`
			/empty   → 503
			/zero    → 500
			/none    → 500
			/nobody  → 500
			/bucket  → 500
			`)
		m.expectShares(400, "/quarter", map[string]float64{"a": 75, "500": 25})
		m.expectShares(400, "/wrong-port", map[string]float64{"a": 50, "500": 50})
		m.expectShares(400, "/half-empty", map[string]float64{"a": 50, "503": 50})
		m.awaitCondition("HTTPRoute shares, parent gw: ResolvedRefs=False BackendNotFound")
		m.backends("nobody")
		m.answers(`/nobody → nobody`)
		m.expectShares(400, "/quarter", map[string]float64{"a": 75, "nobody": 25})
	})
}

// TestEndpoints: they come and go, and those that are not ready do not count.
func TestEndpoints(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		one, two := m.server("one"), m.server("two")
		m.service("a", "")
		m.route("a", `rules: [{backendRefs: [{name: a, port: 80}]}]`)
		m.answers(`/ → 503`)
		m.service("a", "", one.address())
		m.answers(`/ → one`)
		m.service("a", "", one.address(), two.address())
		m.expectShares(400, "/", map[string]float64{"one": 50, "two": 50})
		m.service("a", "", two.address())
		m.expectShares(400, "/", map[string]float64{"two": 100})
		m.service("a", "")
		m.answers(`/ → 503`)
	})
}

// TestGrants: a backend in another namespace needs a word from there.
func TestGrants(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("near")
		far := newSite(t, m.mesh)
		far.backends("far other")
		m.route("grants", replace(`
			rules:
			- matches: [{path: {value: /far}}]
			  backendRefs: [{name: far, namespace: FAR, port: 80}]
			- matches: [{path: {value: /other}}]
			  backendRefs: [{name: other, namespace: FAR, port: 80}]
			- matches: [{path: {value: /half}}]
			  backendRefs: [{name: far, namespace: FAR, port: 80}, {name: near, port: 80}]
			`, "FAR", far.namespace))
		const refused = "HTTPRoute grants, parent gw: ResolvedRefs=False RefNotPermitted"
		m.awaitCondition(refused)
		m.answers(`
			/far   → 500
			/other → 500
			`)
		m.expectShares(400, "/half", map[string]float64{"near": 50, "500": 50})

		grant := replace(`
			apiVersion: gateway.networking.k8s.io/v1beta1
			kind: ReferenceGrant
			metadata: {name: grant, namespace: NAMESPACE}
			spec:
			  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: FROM}]
			  to: [{group: "", kind: Service, name: far}]
			`, "FROM", m.namespace)
		far.apply("grant", grant)
		m.answers(`
			/far   → far
			/other → 500
			`)
		m.expectShares(400, "/half", map[string]float64{"near": 50, "far": 50})
		far.apply("grant", replace(grant, ", name: far", ""))
		m.answers(`/other → other`)
		m.awaitNoConditions()

		far.remove("grant")
		m.answers(`
			/far   → 500
			/other → 500
			`)
		m.awaitCondition(refused)
	})
}
