package standalone_test

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/websocket"
)

// TestWhatBackendsLearn: who the client is and how it came, by Envoy's word
// and not the client's. Envoy calls a client on the loopback by the machine's
// own address.
func TestWhatBackendsLearn(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a")
		m.route("a", `rules: [{backendRefs: [{name: a, port: 80}]}]`)
		m.answers(`/ → a`)
		for _, from := range localAddresses(t) {
			client := m.newClient(nil)
			client.Transport.(*http.Transport).DialContext = func(ctx context.Context, _, address string) (net.Conn, error) {
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}}
				return d.DialContext(ctx, "tcp", m.where(address))
			}
			a, err := m.try(client, "/")
			if err != nil {
				t.Fatalf("from %s: %v", from, err)
			}
			want := http.Header{"X-Forwarded-Proto": {"http"}, "X-Forwarded-For": {from.String()}}
			if from.IsLoopback() {
				want["X-Forwarded-For"] = a.Seen.Header["X-Forwarded-For"]
				if said := netip.MustParseAddr(want.Get("X-Forwarded-For")); !slices.Contains(localAddresses(t), said) {
					t.Errorf("from %s: the backend sees %s, which is no address of this machine", from, said)
				}
			}
			if from.IsLoopback() || from.IsPrivate() {
				want["X-Envoy-Internal"] = []string{"true"}
			} else {
				want["X-Envoy-External-Address"] = []string{from.String()}
			}
			got := only(a.Seen.Header, "X-Forwarded-Proto", "X-Forwarded-For", "X-Envoy-Internal", "X-Envoy-External-Address")
			if !reflect.DeepEqual(got, want) {
				t.Errorf("from %s: the backend sees %v, want %v", from, got, want)
			}
		}
	})
}

// localAddresses are this machine's of IPv4, 127.0.0.1 among them.
func localAddresses(t *testing.T) []netip.Addr {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	out := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !slices.Contains(out, p.Addr()) {
			out = append(out, p.Addr())
		}
	}
	return out
}

// TestRequestIDs are made for every request, and clients' lies do not arrive.
func TestRequestIDs(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a")
		m.route("a", `rules: [{backendRefs: [{name: a, port: 80}]}]`)
		m.answers(`/ → a`)
		first, second := m.get("/").Seen.Header.Get("X-Request-Id"), m.get("/").Seen.Header.Get("X-Request-Id")
		if len(first) != 36 || first == second {
			t.Errorf("two requests have the ids %q and %q", first, second)
		}
		got := m.get("/ | X-Forwarded-Proto: https | X-Envoy-External-Address: 1.2.3.4 | X-Envoy-Internal: true | X-Forwarded-For: 1.2.3.4").Seen.Header
		if got.Get("X-Forwarded-Proto") != "http" || got.Get("X-Envoy-External-Address") == "1.2.3.4" {
			t.Errorf("a client's lies arrive: %v", got)
		}
		before, real, _ := strings.Cut(got.Get("X-Forwarded-For"), ",")
		if before != "1.2.3.4" || !slices.Contains(localAddresses(t), netip.MustParseAddr(strings.TrimSpace(real))) {
			t.Errorf("X-Forwarded-For: %s, want the real client last", got.Get("X-Forwarded-For"))
		}
	})
}

// TestClientsDoNotSteerEnvoy: its x-envoy headers are for its operators.
func TestClientsDoNotSteerEnvoy(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		b := m.backend("a", "")
		m.route("a", `rules: [{backendRefs: [{name: a, port: 80}]}]`)
		m.answers(`/ → a`)
		const control = " | X-Envoy-Max-Retries: 5 | X-Envoy-Retry-On: 5xx | X-Envoy-Upstream-Rq-Timeout-Ms: 1" +
			" | X-Envoy-Upstream-Alt-Stat-Name: x | X-Envoy-Original-Path: /x | X-Envoy-Decorator-Operation: x" +
			" | X-Envoy-Expected-Rq-Timeout-Ms: 1 | X-Envoy-Force-Trace: 1 | X-Envoy-Whatever: 1 | X-Kept: client"
		if a := m.get("/?fail=1,503" + control); a.by() != "503 a" || len(b.sawURI("/?fail=1,503")) != 1 {
			t.Errorf("a client makes Envoy try again: %s, %d tries", a.by(), len(b.sawURI("/?fail=1,503")))
		}
		a := m.get("/?delay=100ms" + control)
		if a.by() != "a" {
			t.Fatalf("a client sets a timeout: %s", a.by())
		}
		for name := range a.Seen.Header {
			if strings.HasPrefix(name, "X-Envoy-") && name != "X-Envoy-Internal" {
				t.Errorf("the backend sees %s: %s", name, a.Seen.Header.Get(name))
			}
		}
		for name := range a.Header {
			if strings.HasPrefix(name, "X-Envoy-") {
				t.Errorf("the client sees %s: %s", name, a.Header.Get(name))
			}
		}
		if a.Seen.Header.Get("X-Kept") != "client" {
			t.Error("other headers do not arrive")
		}
	})
}

// TestBodiesAndStatuses pass through.
func TestBodiesAndStatuses(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a")
		m.route("a", `rules: [{backendRefs: [{name: a, port: 80}]}]`)
		m.answers(`
			/?status=201  → 201 a
			/?status=418  → 418 a
			/?status=500  → 500 a
			PATCH /       → a
			`)
		body := strings.Repeat("0123456789abcdef", 64<<10)
		r, err := m.request("POST /")
		if err != nil {
			t.Fatal(err)
		}
		response, err := m.client.Post(r.URL.String(), "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if a, err := read(response); err != nil || a.Seen.Body != body {
			t.Errorf("a body of 1 MiB does not arrive as it was: %v", err)
		}
	})
}

// TestAppProtocol: h2c is spoken where a Service says so, HTTP/1.1 elsewhere.
func TestAppProtocol(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backend("h1", "")
		m.backend("http", "http")
		m.backend("h2c", "kubernetes.io/h2c")
		m.backend("ws", "kubernetes.io/ws")
		m.backend("unknown", "example.com/unknown")
		spec := "rules:\n"
		for _, name := range []string{"h1", "http", "h2c", "ws", "unknown"} {
			spec += replace("- {matches: [{path: {value: /X}}], backendRefs: [{name: X, port: 80}]}\n", "X", name)
		}
		m.route("protocols", spec)
		m.answers(`
			/h1      → h1
			/http    → http
			/h2c     → h2c
			/ws      → ws
			/unknown → 500
			`)
		for path, want := range map[string]string{"/h1": "HTTP/1.1", "/http": "HTTP/1.1", "/h2c": "HTTP/2.0", "/ws": "HTTP/1.1"} {
			if got := m.get(path).Seen.Proto; got != want {
				t.Errorf("%s arrives by %s, want %s", path, got, want)
			}
		}
		m.awaitCondition("HTTPRoute protocols, parent gw: ResolvedRefs=False UnsupportedProtocol")
	})
}

// TestHTTP2Clients need no TLS.
func TestHTTP2Clients(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a")
		m.route("a", `
			hostnames: [a.example.com]
			rules: [{backendRefs: [{name: a, port: 80}]}]
			`)
		client := m.newClient(nil)
		client.Transport.(*http.Transport).Protocols = new(http.Protocols)
		client.Transport.(*http.Transport).Protocols.SetUnencryptedHTTP2(true)
		m.answersTo(client, `
			http://a.example.com/ → a
			http://A.example.com/ → a
			http://b.example.com/ → 404
			`)
	})
}

func TestWebSocket(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backend("ws", "kubernetes.io/ws")
		m.route("ws", `rules: [{backendRefs: [{name: ws, port: 80}]}]`)
		m.answers(`/ → ws`)
		config, err := websocket.NewConfig("ws://a.example.com/websocket", "http://a.example.com")
		if err != nil {
			t.Fatal(err)
		}
		wire, err := new(net.Dialer).DialContext(context.Background(), "tcp", m.where(""))
		if err != nil {
			t.Fatal(err)
		}
		defer wire.Close()
		socket, err := websocket.NewClient(config, wire)
		if err != nil {
			t.Fatal(err)
		}
		for _, sent := range []string{"one", "two"} {
			if err := websocket.Message.Send(socket, sent); err != nil {
				t.Fatal(err)
			}
			var got string
			if err := websocket.Message.Receive(socket, &got); err != nil || got != sent {
				t.Fatalf("sent %q, received %q, %v", sent, got, err)
			}
		}
	})
}
