package standalone_test

import (
	"net/http"
	"reflect"
	"testing"
)

func TestRequestHeaderModifier(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a b")
		m.route("headers", `
			rules:
			- filters:
			  - type: RequestHeaderModifier
			    requestHeaderModifier:
			      set: [{name: X-Set, value: rule}, {name: X-Both, value: rule}]
			      add: [{name: X-Add, value: rule}]
			      remove: [X-Remove]
			  backendRefs:
			  - name: a
			    port: 80
			    filters:
			    - type: RequestHeaderModifier
			      requestHeaderModifier:
			        set: [{name: X-Both, value: backend}]
			        add: [{name: X-Add, value: backend}]
			`)
		m.answers(`/ → a`)
		got := m.get("/ | X-Set: client | X-Add: client | X-Remove: client | X-Kept: client").Seen
		want := http.Header{
			"X-Set": {"rule"}, "X-Both": {"backend"}, "X-Add": {"client", "rule", "backend"}, "X-Kept": {"client"},
		}
		if got := only(got.Header, "X-Set", "X-Both", "X-Add", "X-Remove", "X-Kept"); !reflect.DeepEqual(got, want) {
			t.Errorf("the backend sees %v, want %v", got, want)
		}
	})
}

func TestResponseHeaderModifier(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a")
		m.route("headers", `
			rules:
			- filters:
			  - type: ResponseHeaderModifier
			    responseHeaderModifier:
			      set: [{name: X-Set, value: rule}]
			      add: [{name: X-Add, value: rule}]
			      remove: [X-From]
			  backendRefs:
			  - name: a
			    port: 80
			    filters:
			    - type: ResponseHeaderModifier
			      responseHeaderModifier:
			        add: [{name: X-Add, value: backend}]
			        set: [{name: X-More, value: backend}]
			`)
		m.answers(`/ → a`)
		got := m.get("/").Header
		want := http.Header{"X-Set": {"rule"}, "X-Add": {"rule", "backend"}, "X-More": {"backend"}}
		if got := only(got, "X-Set", "X-Add", "X-More", "X-From"); !reflect.DeepEqual(got, want) {
			t.Errorf("the client sees %v, want %v", got, want)
		}
	})
}

// TestHeaderModifiersPerShare: each backend's filters are for its share.
func TestHeaderModifiersPerShare(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a b")
		m.route("shares", `
			rules:
			- backendRefs:
			  - name: a
			    port: 80
			    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-To, value: a}]}}]
			  - name: b
			    port: 80
			    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-To, value: b}]}}]
			`)
		m.expectShares(100, "/", map[string]float64{"a": 50, "b": 50})
		for range 20 {
			if a := m.get("/"); a.Seen.Header.Get("X-To") != a.Backend {
				t.Errorf("%s sees X-To: %s", a.Backend, a.Seen.Header.Get("X-To"))
			}
		}
	})
}

// TestHeaderValuesAreLiteral: '%' is Envoy's sign of an operator, and never
// the user's.
func TestHeaderValuesAreLiteral(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a")
		m.route("literal", `
			rules:
			- filters:
			  - type: RequestHeaderModifier
			    requestHeaderModifier: {set: [{name: X-A, value: "100%"}, {name: X-B, value: "%REQ(:path)%"}, {name: X-C, value: "%%"}]}
			  - type: ResponseHeaderModifier
			    responseHeaderModifier: {set: [{name: X-A, value: "50% off"}, {name: X-B, value: "%HOSTNAME%"}]}
			  - type: URLRewrite
			    urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: "/%25/%20x"}}
			  backendRefs: [{name: a, port: 80}]
			`)
		m.answers(`/ → a`)
		a := m.get("/")
		want := http.Header{"X-A": {"100%"}, "X-B": {"%REQ(:path)%"}, "X-C": {"%%"}}
		if got := only(a.Seen.Header, "X-A", "X-B", "X-C"); !reflect.DeepEqual(got, want) {
			t.Errorf("the backend sees %v, want %v", got, want)
		}
		want = http.Header{"X-A": {"50% off"}, "X-B": {"%HOSTNAME%"}}
		if got := only(a.Header, "X-A", "X-B"); !reflect.DeepEqual(got, want) {
			t.Errorf("the client sees %v, want %v", got, want)
		}
		if a.Seen.URI != "/%25/%20x" {
			t.Errorf("the backend sees path %s, want /%%25/%%20x", a.Seen.URI)
		}
	})
}

func TestRedirects(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.gateway(`
			listeners:
			- {name: http, protocol: HTTP, port: 80}
			- {name: other, protocol: HTTP, port: 8080}
			`)
		m.route("redirects", `
			hostnames: [a.example.com, "*.wild.example.com"]
			rules:
			- matches: [{path: {value: /none}}]
			  filters: [{type: RequestRedirect, requestRedirect: {}}]
			- matches: [{path: {value: /scheme}}]
			  filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]
			- matches: [{path: {value: /http}}]
			  filters: [{type: RequestRedirect, requestRedirect: {scheme: http}}]
			- matches: [{path: {value: /host}}]
			  filters: [{type: RequestRedirect, requestRedirect: {hostname: b.example.com}}]
			- matches: [{path: {value: /port}}]
			  filters: [{type: RequestRedirect, requestRedirect: {port: 8443}}]
			- matches: [{path: {value: /scheme-and-port}}]
			  filters: [{type: RequestRedirect, requestRedirect: {scheme: https, port: 443}}]
			- matches: [{path: {value: /full}}]
			  filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /x}}}]
			- matches: [{path: {value: /prefix}}]
			  filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /x}}}]
			- matches: [{path: {value: /cut}}]
			  filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
			- matches: [{path: {value: /all}}]
			  filters:
			  - type: RequestRedirect
			    requestRedirect:
			      scheme: https
			      hostname: b.example.com
			      port: 8443
			      path: {type: ReplacePrefixMatch, replacePrefixMatch: /x}
			      statusCode: 301
			`)
		m.answers(`
			http://a.example.com/none/x?q=1        → 302 http://a.example.com:20080/none/x?q=1
			http://a.example.com:8080/none         → 302 http://a.example.com:28080/none
			http://a.example.com/scheme/x?q=1      → 302 https://a.example.com/scheme/x?q=1
			http://a.example.com:8080/scheme       → 302 https://a.example.com/scheme
			http://a.example.com:8080/http         → 302 http://a.example.com:20080/http
			http://a.example.com/host              → 302 http://b.example.com:20080/host
			http://a.example.com:8080/host         → 302 http://b.example.com:28080/host
			http://a.example.com/port              → 302 http://a.example.com:8443/port
			http://a.example.com/scheme-and-port   → 302 https://a.example.com/scheme-and-port
			http://a.example.com/full/y?q=1        → 302 http://a.example.com:20080/x?q=1
			http://a.example.com/prefix            → 302 http://a.example.com:20080/x
			http://a.example.com/prefix/           → 302 http://a.example.com:20080/x/
			http://a.example.com/prefix/y?q=1      → 302 http://a.example.com:20080/x/y?q=1
			http://a.example.com/cut/y             → 302 http://a.example.com:20080/y
			http://a.example.com/cut               → 302 http://a.example.com:20080/
			http://a.example.com/all/y?q=1         → 301 https://b.example.com:8443/x/y?q=1
			http://x.wild.example.com/scheme       → 302 https://x.wild.example.com/scheme
			http://x.wild.example.com:80/scheme    → 302 https://x.wild.example.com/scheme
			http://x.wild.example.com:80/none      → 302 http://x.wild.example.com:20080/none
			`)
	})
}

func TestRedirectStatusCodes(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		spec := "rules:\n"
		for _, code := range []string{"301", "302", "303", "307", "308"} {
			spec += replace(`
				- matches: [{path: {value: /CODE}}]
				  filters: [{type: RequestRedirect, requestRedirect: {hostname: b.example.com, port: 80, statusCode: CODE}}]
				`, "CODE", code)
		}
		m.route("codes", spec)
		m.answers(`
			/301 → 301 http://b.example.com/301
			/302 → 302 http://b.example.com/302
			/303 → 303 http://b.example.com/303
			/307 → 307 http://b.example.com/307
			/308 → 308 http://b.example.com/308
			`)
	})
}

func TestURLRewrite(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a b")
		m.route("rewrites", `
			rules:
			- matches: [{path: {value: /full}}]
			  filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /x}}}]
			  backendRefs: [{name: a, port: 80}]
			- matches: [{path: {value: /prefix}}]
			  filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /x/}}}]
			  backendRefs: [{name: a, port: 80}]
			- matches: [{path: {value: /cut}}]
			  filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
			  backendRefs: [{name: a, port: 80}]
			- matches: [{path: {value: /}}]
			  filters:
			  - {type: URLRewrite, urlRewrite: {hostname: b.example.com, path: {type: ReplacePrefixMatch, replacePrefixMatch: /root}}}
			  backendRefs: [{name: a, port: 80}]
			- matches: [{path: {value: /backend}}]
			  filters: [{type: URLRewrite, urlRewrite: {hostname: rule.example.com}}]
			  backendRefs:
			  - name: a
			    port: 80
			    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /for-a}}}]
			  - name: b
			    port: 80
			    filters: [{type: URLRewrite, urlRewrite: {hostname: b.example.com, path: {type: ReplaceFullPath, replaceFullPath: /for-b}}}]
			`)
		m.answers(`/ → a`)
		for _, c := range []struct{ sent, uri, host string }{
			{"/full/y?q=1", "/x?q=1", "a.example.com"},
			{"/prefix", "/x", "a.example.com"},
			{"/prefix/", "/x/", "a.example.com"},
			{"/prefix/y?q=1", "/x/y?q=1", "a.example.com"},
			{"/cut", "/", "a.example.com"},
			{"/cut?q=1", "/?q=1", "a.example.com"},
			{"/cut/y", "/y", "a.example.com"},
			{"/y", "/root/y", "b.example.com"},
		} {
			if a := m.get("http://a.example.com" + c.sent); a.Seen == nil || a.Seen.URI != c.uri || a.Seen.Host != c.host {
				t.Errorf("%s arrives as %+v, want %s at %s", c.sent, a.Seen, c.uri, c.host)
			}
		}
		m.expectShares(400, "/backend/x", map[string]float64{"a": 50, "b": 50})
		want := map[string][2]string{"a": {"/for-a/x", "rule.example.com"}, "b": {"/for-b", "b.example.com"}}
		for range 20 {
			if a := m.get("/backend/x"); want[a.Backend] != [2]string{a.Seen.URI, a.Seen.Host} {
				t.Errorf("%s sees %s at %s, want %v", a.Backend, a.Seen.URI, a.Seen.Host, want[a.Backend])
			}
		}
	})
}

func TestMirrors(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a")
		all, percent, fraction, never := m.backend("all", ""), m.backend("percent", ""), m.backend("fraction", ""), m.backend("never", "")
		m.route("mirrors", `
			rules:
			- filters:
			  - {type: RequestMirror, requestMirror: {backendRef: {name: all, port: 80}}}
			  - {type: RequestMirror, requestMirror: {backendRef: {name: percent, port: 80}, percent: 20}}
			  - {type: RequestMirror, requestMirror: {backendRef: {name: fraction, port: 80}, fraction: {numerator: 1, denominator: 2}}}
			  - {type: RequestMirror, requestMirror: {backendRef: {name: never, port: 80}, percent: 0}}
			  - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Set, value: rule}]}}
			  backendRefs: [{name: a, port: 80}]
			`)
		m.answers(`http://a.example.com/ → a`)
		const n = 400
		for range n {
			if a := m.get("POST http://a.example.com/copied?q=1 | X-Kept: client"); a.by() != "a" {
				t.Fatal(a.by())
			}
		}
		if err := poll(func() error { return enough(len(all.sawURI("/copied?q=1")), n) }); err != nil {
			t.Fatal(err)
		}
		if got := all.sawURI("/copied?q=1")[0]; got.Method != "POST" || got.Host != "a.example.com" || got.Header.Get("X-Kept") != "client" {
			t.Errorf("the copy is %+v", got)
		}
		for b, want := range map[*backend]float64{percent: 20, fraction: 50, never: 0} {
			got := 100 * float64(len(b.sawURI("/copied?q=1"))) / n
			if got < want-11 || got > want+11 {
				t.Errorf("%s is sent %.1f %% of the copies, want %.0f", b.name, got, want)
			}
		}
	})
}

func TestCORS(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a")
		m.route("cors", `
			rules:
			- matches: [{path: {value: /some}}]
			  filters:
			  - type: CORS
			    cors:
			      allowOrigins: ["https://www.example.com", "https://*.example.org"]
			      allowMethods: [GET, PUT]
			      allowHeaders: [X-Asked, Content-Type]
			      exposeHeaders: [X-From]
			      allowCredentials: true
			      maxAge: 600
			  backendRefs: [{name: a, port: 80}]
			- matches: [{path: {value: /any}}]
			  filters: [{type: CORS, cors: {allowOrigins: ["*"]}}]
			  backendRefs: [{name: a, port: 80}]
			- matches: [{path: {value: /without}}]
			  backendRefs: [{name: a, port: 80}]
			`)
		m.answers(`/some → a`)
		const preflight = " | Access-Control-Request-Method: PUT | Access-Control-Request-Headers: X-Asked"
		for _, c := range []struct{ request, by, origin string }{
			{"OPTIONS /some | Origin: https://www.example.com" + preflight, "200", "https://www.example.com"},
			{"OPTIONS /some | Origin: https://a.b.example.org" + preflight, "200", "https://a.b.example.org"},
			{"OPTIONS /some | Origin: https://evil.example" + preflight, "200", ""},
			{"/some | Origin: https://www.example.com", "a", "https://www.example.com"},
			{"/some | Origin: https://evil.example", "a", ""},
			{"/any | Origin: https://evil.example", "a", "https://evil.example"},
			{"OPTIONS /without | Origin: https://www.example.com" + preflight, "a", ""},
		} {
			a := m.get(c.request)
			if a.by() != c.by || a.Header.Get("Access-Control-Allow-Origin") != c.origin {
				t.Errorf("%s → %s, allowed origin %q, want %s and %q", c.request, a.by(), a.Header.Get("Access-Control-Allow-Origin"), c.by, c.origin)
			}
		}
		a := m.get("OPTIONS /some | Origin: https://www.example.com" + preflight)
		for name, want := range map[string]string{
			"Access-Control-Allow-Methods": "GET,PUT", "Access-Control-Allow-Headers": "X-Asked,Content-Type",
			"Access-Control-Allow-Credentials": "true", "Access-Control-Max-Age": "600",
		} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
		if got := m.get("/some | Origin: https://www.example.com").Header.Get("Access-Control-Expose-Headers"); got != "X-From" {
			t.Errorf("Access-Control-Expose-Headers: %s", got)
		}
	})
}

// TestUnsupportedFilters are refused, and their requests do not slip through
// to a rule that is less specific.
func TestUnsupportedFilters(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a")
		m.route("open", `rules: [{backendRefs: [{name: a, port: 80}]}]`)
		m.answers(`/ → a`)
		m.route("guarded", `
			rules:
			- matches: [{path: {value: /guarded}}]
			  filters: [{type: ExtensionRef, extensionRef: {group: example.com, kind: Guard, name: guard}}]
			  backendRefs: [{name: a, port: 80}]
			`)
		m.awaitCondition("HTTPRoute guarded, parent gw: Accepted=False UnsupportedValue")
		m.answers(`
			/guarded → 500
			/        → a
			`)
	})
}
