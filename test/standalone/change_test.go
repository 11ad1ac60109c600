package standalone_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/standalone"
)

// changes is how often a change is made under load.
const changes = 10

func TestWeightsFlipUnderLoad(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a b")
		to := func(a, b int) string {
			return fmt.Sprintf("rules: [{backendRefs: [{name: a, port: 80, weight: %d}, {name: b, port: 80, weight: %d}]}]", a, b)
		}
		m.route("r", to(1, 0))
		m.answers(`/ → a`)
		load := m.load("/", "a b")
		for range changes {
			m.route("r", to(0, 1))
			load.await("b", 10)
			m.route("r", to(1, 0))
			load.await("a", 10)
		}
		load.finish()
	})
}

// TestRouteMovesUnderLoad: to a Service that Envoy has never heard of, and
// away from one that then is no more.
func TestRouteMovesUnderLoad(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("b0")
		m.route("r", `rules: [{backendRefs: [{name: b0, port: 80}]}]`)
		m.answers(`/ → b0`)
		load := m.load("/", "b0 b1 b2 b3 b4 b5")
		for n := 1; n <= 5; n++ {
			name := fmt.Sprintf("b%d", n)
			m.backends(name)
			m.route("r", fmt.Sprintf(`
				rules:
				- filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-N, value: "%d"}]}}]
				  backendRefs: [{name: %s, port: 80}]
				`, n, name))
			load.await(name, 10)
			m.remove(fmt.Sprintf("service-b%d", n-1))
			load.some(10)
		}
		load.finish()
	})
}

func TestRulesReorderedUnderLoad(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a b c")
		rules := []string{
			"- {matches: [{path: {value: /a}}], backendRefs: [{name: a, port: 80}]}",
			"- {matches: [{path: {value: /b}}], backendRefs: [{name: b, port: 80}]}",
			"- {matches: [{path: {value: /c}}], backendRefs: [{name: c, port: 80}]}",
		}
		put := func(n int) {
			order := append(append([]string{}, rules[n%3:]...), rules[:n%3]...)
			marker := fmt.Sprintf("- {matches: [{path: {value: /marker-%d}}], backendRefs: [{name: a, port: 80}]}", n)
			m.route("r", "rules:\n"+strings.Join(append(order, marker), "\n"))
			m.answers(fmt.Sprintf("/marker-%d → a", n))
		}
		put(0)
		loads := []*load{m.load("/a", "a"), m.load("/c", "c")}
		for n := range changes {
			put(n + 1)
		}
		for _, l := range loads {
			l.some(10)
			l.finish()
		}
	})
}

// TestStrangersComeAndGoUnderLoad: listeners, Gateways and routes that the
// load has nothing to do with.
func TestStrangersComeAndGoUnderLoad(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a b")
		const one = "listeners:\n- {name: http, protocol: HTTP, port: 80}\n"
		m.gateway(one)
		m.route("r", `
			hostnames: [a.example.com]
			rules: [{backendRefs: [{name: a, port: 80}]}]
			`)
		m.answers(`http://a.example.com/ → a`)
		load := m.load("http://a.example.com/", "a")
		stranger := newSite(t, m.mesh)
		m.hasty(m.client) // connections of listeners that go are drained
		m.hasty(stranger.client)
		stranger.backends("b")
		for range 4 {
			m.gateway(one + "- {name: other, protocol: HTTP, port: 8080}\n")
			m.answers(`http://a.example.com:8080/ → a`)
			m.route("other", `
				hostnames: [b.example.com]
				rules: [{backendRefs: [{name: b, port: 80}]}]
				`)
			m.answers(`http://b.example.com/ → b`)
			stranger.route("r", `rules: [{backendRefs: [{name: b, port: 80}]}]`)
			stranger.answers(`/ → b`)
			m.gateway(one)
			m.remove("route-other")
			stranger.remove("route-r")
			stranger.remove("gateway")
			m.answers(`http://b.example.com/ → 404`)
			m.awaitRefusal("x:8080")
			stranger.awaitRefusal("x:80")
			load.some(10)
		}
		load.finish()
	})
}

func TestEndpointsSwapUnderLoad(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		one, two := m.server("one"), m.server("two")
		m.service("a", "", one.address())
		m.route("r", `rules: [{backendRefs: [{name: a, port: 80}]}]`)
		m.answers(`/ → one`)
		load := m.load("/", "one two")
		for range changes {
			m.service("a", "", two.address())
			load.await("two", 10)
			m.service("a", "", one.address())
			load.await("one", 10)
		}
		load.finish()
	})
}

// TestHeadersFlipUnderLoad: every answer is that of the route before the
// change or of the one after it, and nothing between.
func TestHeadersFlipUnderLoad(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a b")
		to := func(name string) string {
			return replace(`
				rules:
				- filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-To, value: WHO}]}}]
				  backendRefs: [{name: WHO, port: 80}]
				`, "WHO", name)
		}
		m.route("r", to("a"))
		m.answers(`/ → a`)
		load := m.load("/", "a b")
		load.require(func(a *answer) error {
			if got := a.Seen.Header.Get("X-To"); got != a.Backend {
				return fmt.Errorf("%s sees X-To: %q", a.Backend, got)
			}
			return nil
		})
		for range changes {
			m.route("r", to("b"))
			load.await("b", 10)
			m.route("r", to("a"))
			load.await("a", 10)
		}
		load.finish()
	})
}

// TestTableChangesMode: beyond 300 hosts a table is served in another way,
// and below 200 as before. Nobody sees it.
func TestTableChangesMode(t *testing.T) {
	t.Parallel()
	shared, err := startMesh(standalone.Options{RouteTables: agent.Auto, PortOffset: offset, Address: nextAddress()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := shared.stop(); err != nil {
			t.Error(err)
		}
	})
	m := newSite(t, shared)
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
	const same = `
		http://a.example.com/   → exact
		http://b.example.com/   → wild
		http://b.example.org/   → any
		`
	m.answers(same)
	loads := []*load{m.load("http://a.example.com/", "exact"), m.load("http://b.example.com/", "wild"), m.load("/", "any")}
	for _, hosts := range []int{310, 10, 310, 0} {
		m.hosts(hosts)
		m.awaitScopes(hosts > 300)
		for _, l := range loads {
			l.some(20)
		}
		m.answers(same)
	}
	for _, l := range loads {
		l.finish()
	}
}

// hosts makes n routes with a host each.
func (m *site) hosts(n int) {
	m.t.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: host-%d, namespace: NAMESPACE}
spec:
  parentRefs: [{name: gw}]
  hostnames: [h%[1]d.hosts.example.com]
  rules: [{backendRefs: [{name: exact, port: 80}]}]
`, i)
	}
	m.apply("hosts", b.String())
	if n > 0 {
		m.answers(fmt.Sprintf("http://h0.hosts.example.com/ → exact\nhttp://h%d.hosts.example.com/ → exact", n-1))
	} else {
		m.answers(`http://h0.hosts.example.com/ → wild`)
	}
}

// awaitScopes waits until tables are served by scopes, or are not.
func (m *site) awaitScopes(want bool) {
	m.t.Helper()
	m.await(func(s *standalone.Status) error {
		got := false
		for _, r := range s.Resources {
			if r.Pending+r.Rejected > 0 {
				return fmt.Errorf("%s: %d pending, %d rejected", r.Type, r.Pending, r.Rejected)
			}
			got = got || strings.HasSuffix(r.Type, "ScopedRouteConfiguration") && r.Accepted > 0
		}
		if got != want {
			return fmt.Errorf("scopes: %t, want %t", got, want)
		}
		return nil
	})
}

// TestConnectionsOutliveChanges: a client's connection is not closed by an
// edit of routes.
func TestConnectionsOutliveChanges(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a b")
		m.route("r", `rules: [{backendRefs: [{name: a, port: 80}]}]`)
		m.answers(`/ → a`)
		client, dials := m.counting()
		m.answersTo(client, `/ → a`)
		for _, name := range []string{"b", "a", "b"} {
			m.route("r", fmt.Sprintf("rules: [{backendRefs: [{name: %s, port: 80}]}]", name))
			m.answersTo(client, "/ → "+name)
		}
		if n := dials.Load(); n != 1 {
			t.Errorf("%d connections, want 1", n)
		}
	})
}
