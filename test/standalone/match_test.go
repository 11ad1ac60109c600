package standalone_test

import "testing"

func TestPaths(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("exact prefix regex")
		m.route("paths", `
			rules:
			- matches: [{path: {type: Exact, value: /exact}}]
			  backendRefs: [{name: exact, port: 80}]
			- matches: [{path: {type: PathPrefix, value: /prefix}}]
			  backendRefs: [{name: prefix, port: 80}]
			- matches: [{path: {type: PathPrefix, value: /slash/}}]
			  backendRefs: [{name: prefix, port: 80}]
			- matches: [{path: {type: RegularExpression, value: "/v[0-9]+/.*"}}]
			  backendRefs: [{name: regex, port: 80}]
			`)
		m.answers(`
			/exact              → exact
			/exact?q=1          → exact
			/exact/             → 404
			/exactly            → 404
			/EXACT              → 404
			/prefix             → prefix
			/prefix/            → prefix
			/prefix/a/b?q=1     → prefix
			/prefixes           → 404
			/slash              → prefix
			/slash/             → prefix
			/slash/a            → prefix
			/slashes            → 404
			/v1/x               → regex
			/v12/               → regex
			/v/x                → 404
			/x/v1/x             → 404
			/                   → 404
			`)
	})
}

// TestPathsInDisguise: a path is matched as it will be understood.
func TestPathsInDisguise(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("open secret")
		m.route("paths", `
			rules:
			- backendRefs: [{name: open, port: 80}]
			- matches: [{path: {type: PathPrefix, value: /secret}}]
			  backendRefs: [{name: secret, port: 80}]
			`)
		m.answers(`
			/secret               → secret
			/open                 → open
			/open/../secret       → secret
			/./secret             → secret
			//secret              → secret
			/%73ecret             → secret
			/open%2F..%2Fsecret   → 307 /secret
			`)
	})
}

func TestHeaders(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("color two regex")
		m.route("headers", `
			rules:
			- matches: [{headers: [{name: X-Color, value: red}]}]
			  backendRefs: [{name: color, port: 80}]
			- matches: [{headers: [{name: x-color, value: red}, {name: X-Size, value: "1"}]}]
			  backendRefs: [{name: two, port: 80}]
			- matches: [{headers: [{type: RegularExpression, name: X-Version, value: "v[0-9]+"}]}]
			  backendRefs: [{name: regex, port: 80}]
			`)
		m.answers(`
			/ | X-Color: red              → color
			/ | x-cOLOR: red              → color
			/ | X-Color: Red              → 404
			/ | X-Color: red!             → 404
			/ | X-Color: red | X-Size: 1  → two
			/ | X-Size: 1                 → 404
			/ | X-Version: v12            → regex
			/ | X-Version: v12b           → 404
			/                             → 404
			`)
	})
}

func TestQuery(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("animal two regex")
		m.route("query", `
			rules:
			- matches: [{queryParams: [{name: animal, value: whale}]}]
			  backendRefs: [{name: animal, port: 80}]
			- matches: [{queryParams: [{name: animal, value: whale}, {name: sea, value: north}]}]
			  backendRefs: [{name: two, port: 80}]
			- matches: [{queryParams: [{type: RegularExpression, name: id, value: "[0-9]+"}]}]
			  backendRefs: [{name: regex, port: 80}]
			`)
		m.answers(`
			/?animal=whale            → animal
			/a/b?x=1&animal=whale     → animal
			/?animal=whales           → 404
			/?Animal=whale            → 404
			/?sea=north&animal=whale  → two
			/?id=12                   → regex
			/?id=1x                   → 404
			/                         → 404
			`)
	})
}

func TestMethods(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("post delete")
		m.route("methods", `
			rules:
			- matches: [{method: POST}]
			  backendRefs: [{name: post, port: 80}]
			- matches: [{method: DELETE, path: {type: PathPrefix, value: /a}}]
			  backendRefs: [{name: delete, port: 80}]
			`)
		m.answers(`
			POST /      → post
			DELETE /a   → delete
			DELETE /    → 404
			GET /a      → 404
			`)
	})
}

// TestSeveralMatches: the matches of a rule are alternatives.
func TestSeveralMatches(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("one")
		m.route("several", `
			rules:
			- name: alternatives
			  matches:
			  - path: {type: PathPrefix, value: /a}
			    headers: [{name: X-Version, value: "1"}]
			  - path: {type: Exact, value: /b}
			  - queryParams: [{name: c, value: "1"}]
			    method: PUT
			  backendRefs: [{name: one, port: 80}]
			`)
		m.answers(`
			/a/x | X-Version: 1  → one
			/a/x                 → 404
			/b                   → one
			PUT /c?c=1           → one
			GET /c?c=1           → 404
			`)
	})
}

// TestPrecedence is the Gateway API's order of matches, against the order in
// which the rules stand.
func TestPrecedence(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("any query header headers method longer exact")
		m.route("precedence", `
			rules:
			- matches: [{path: {type: PathPrefix, value: /}}]
			  backendRefs: [{name: any, port: 80}]
			- matches: [{queryParams: [{name: q, value: "1"}, {name: r, value: "1"}]}]
			  backendRefs: [{name: query, port: 80}]
			- matches: [{headers: [{name: X-A, value: "1"}]}]
			  backendRefs: [{name: header, port: 80}]
			- matches: [{headers: [{name: X-A, value: "1"}, {name: X-B, value: "1"}]}]
			  backendRefs: [{name: headers, port: 80}]
			- matches: [{method: PUT}]
			  backendRefs: [{name: method, port: 80}]
			- matches: [{path: {type: PathPrefix, value: /a}}]
			  backendRefs: [{name: longer, port: 80}]
			- matches: [{path: {type: Exact, value: /a}}]
			  backendRefs: [{name: exact, port: 80}]
			`)
		m.answers(`
			/                                       → any
			/?q=1&r=1                               → query
			/?q=1&r=1 | X-A: 1                      → header
			/?q=1&r=1 | X-A: 1 | X-B: 1             → headers
			PUT /?q=1&r=1 | X-A: 1 | X-B: 1         → method
			PUT /a/b?q=1&r=1 | X-A: 1 | X-B: 1      → longer
			PUT /a?q=1&r=1 | X-A: 1 | X-B: 1        → exact
			`)
	})
}

// TestTies: of equal matches the oldest route's counts, then the first by
// name, then the first rule.
func TestTies(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a b c oldest")
		match := "rules: [{matches: [{path: {type: PathPrefix, value: /tie}}], backendRefs: [{name: NAME, port: 80}]}]"
		to := func(name string) string { return replace(match, "NAME", name) }
		m.route("b", to("b"))
		m.route("c", to("c"))
		m.answers(`/tie → b`)
		m.route("a", to("a"))
		m.answers(`/tie → a`)
		m.remove("route-a")
		m.answers(`/tie → b`)
		for name, year := range map[string]string{"b": "2022", "c": "2021", "oldest": "2020"} {
			m.apply("route-"+name, replace(`
				apiVersion: gateway.networking.k8s.io/v1
				kind: HTTPRoute
				metadata: {name: WHO, namespace: NAMESPACE, creationTimestamp: "YEAR-01-01T00:00:00Z"}
				spec:
				  parentRefs: [{name: gw}]
				  `, "WHO", name, "YEAR", year)+to(name))
		}
		m.answers(`/tie → oldest`)
		m.remove("route-oldest")
		m.answers(`/tie → c`)
		m.route("b", `
			rules:
			- backendRefs: [{name: c, port: 80}]
			- backendRefs: [{name: b, port: 80}]
			`)
		m.answers(`
			/tie   → c
			/other → c
			`)
	})
}
