package render_test

import (
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/model"
)

// under is a route for a path prefix.
func under(prefix string, f *model.Forward) model.Route {
	return model.Route{Match: model.Match{Path: model.PathMatch{Value: prefix}}, Forward: f}
}

// share is one of several backends.
func share(b *backend, weight uint32) model.WeightedBackend {
	return model.WeightedBackend{Backend: b.Backend, Weight: weight}
}

// none is a share that leads nowhere.
func none(weight uint32) model.WeightedBackend { return model.WeightedBackend{Weight: weight} }

// shares counts who answers n requests, in per cent.
func (g *gateway) shares(url string, n int) map[string]float64 {
	g.t.Helper()
	counts := map[string]float64{}
	for range n {
		counts[g.get(url).by()] += 100 / float64(n)
	}
	return counts
}

func wantShares(t *testing.T, what string, got, want map[string]float64) {
	t.Helper()
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: %s answered", what, name)
		}
	}
	for name, share := range want {
		if math.Abs(got[name]-share) > 7 {
			t.Errorf("%s: %s has %.1f %%, want %.0f %%", what, name, got[name], share)
		}
	}
}

func TestWeights(t *testing.T) {
	inBothModes(t, func(t *testing.T, g *gateway) {
		a, b := echo(t, "a"), echo(t, "b")
		rewriting := func(b *backend, weight uint32, path string) model.WeightedBackend {
			s := share(b, weight)
			s.Rewrite = &model.Rewrite{Path: prefixPath(path), Host: "rewritten." + path[1:]}
			return s
		}
		g.serve([]model.VirtualHost{host("*",
			under("/half", &model.Forward{Backends: []model.WeightedBackend{share(a, 1), share(b, 1)}}),
			under("/tenth", &model.Forward{Backends: []model.WeightedBackend{share(a, 9_000_000/10), share(b, 100_000)}}),
			under("/third", &model.Forward{Backends: []model.WeightedBackend{share(a, 2), none(1)}}),
			under("/nobody", &model.Forward{Backends: []model.WeightedBackend{none(1)}}),
			under("/split", &model.Forward{Backends: []model.WeightedBackend{rewriting(a, 5, "/a"), rewriting(b, 3, "/b"), none(2)}}),
		)}, a, b)
		for path, want := range map[string]map[string]float64{
			"/half":   {"a": 50, "b": 50},
			"/tenth":  {"a": 90, "b": 10},
			"/third":  {"a": 66.7, "500": 33.3},
			"/nobody": {"500": 100},
			"/split":  {"a": 50, "b": 30, "500": 20},
		} {
			wantShares(t, path, g.shares("http://example.com"+path, 1000), want)
		}
		for range 20 {
			got := g.get("http://example.com/split/x?q=1").Received
			if got != nil && (got.URI != "/"+got.Backend+"/x?q=1" || got.Host != "rewritten."+got.Backend) {
				t.Errorf("rewrite of a backend: %+v", got)
			}
		}
	})
}

func TestUnavailable(t *testing.T) {
	inBothModes(t, func(t *testing.T, g *gateway) {
		empty, refused := echo(t, "empty"), echo(t, "refused")
		empty.addresses = nil
		refused.addresses = []netip.AddrPort{closedPort(t)}
		g.serve([]model.VirtualHost{host("*",
			under("/empty", to(empty)), under("/refused", to(refused)),
			model.Route{Match: model.Match{Path: model.PathMatch{Value: "/500"}}, Respond: &model.Respond{Status: 500}},
		), {Host: "elsewhere.example.com", Misdirected: true}}, empty, refused)
		for path, want := range map[string]int{"/empty": 503, "/refused": 503, "/500": 500, "/other": 404} {
			start := time.Now()
			if got := g.get("http://example.com" + path); got.Status != want || time.Since(start) > time.Second {
				t.Errorf("%s: %d after %v, want %d", path, got.Status, time.Since(start), want)
			}
		}
		if got := g.get("http://elsewhere.example.com/"); got.Status != 421 {
			t.Errorf("misdirected: %d", got.Status)
		}
	})
}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) netip.AddrPort {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String())
}

func TestRewrites(t *testing.T) {
	inBothModes(t, func(t *testing.T, g *gateway) {
		b := echo(t, "b")
		rewriting := func(prefix string, r model.Rewrite) model.Route {
			f := to(b)
			f.Rewrite = &r
			return under(prefix, f)
		}
		exact := rewriting("/exact", model.Rewrite{Path: fullPath(`/100%25/\1`)})
		exact.Match.Path.Kind = model.PathExact
		regex := rewriting("/re[0-9]+/.*", model.Rewrite{Path: fullPath("/matched")})
		regex.Match.Path.Kind = model.PathRegex
		g.serve([]model.VirtualHost{host("*", exact, regex,
			rewriting("/prefix", model.Rewrite{Path: prefixPath("/new")}),
			rewriting("/slash", model.Rewrite{Path: prefixPath("/new/")}),
			rewriting("/strip", model.Rewrite{Path: prefixPath("/")}),
			rewriting("/empty", model.Rewrite{Path: prefixPath("")}),
			rewriting("/a.c", model.Rewrite{Path: prefixPath("")}),
			rewriting("/host", model.Rewrite{Host: "one.example.org"}),
			rewriting("/", model.Rewrite{Path: prefixPath("/base")}),
		)}, b)
		for sent, want := range map[string]string{
			"/exact?q=1":    `/100%25/\1?q=1`,
			"/re12/x?q=1":   "/matched?q=1",
			"/prefix/x?q=1": "/new/x?q=1",
			"/prefix?q=1":   "/new?q=1",
			"/prefix/":      "/new/",
			"/prefixes":     "/base/prefixes",
			"/slash/x":      "/new/x",
			"/slash":        "/new",
			"/strip/x/y":    "/x/y",
			"/strip?q=/a":   "/?q=/a",
			"/strip/":       "/",
			"/strip/strip":  "/strip",
			"/empty":        "/",
			"/empty/x":      "/x",
			"/a.c/x":        "/x",
			"/abc/x":        "/base/abc/x",
			"/":             "/base/",
			"/x?q=1":        "/base/x?q=1",
		} {
			got := g.get("http://a.example.com" + sent).Received
			if got == nil || got.URI != want || got.Host != "a.example.com" {
				t.Errorf("%s: the backend saw %+v, want %s", sent, got, want)
			}
		}
		if got := g.get("http://a.example.com/host/x").Received; got.Host != "one.example.org" || got.URI != "/host/x" {
			t.Errorf("host rewrite: %+v", got)
		}
	})
}

func TestHeaders(t *testing.T) {
	inBothModes(t, func(t *testing.T, g *gateway) {
		b := echo(t, "b")
		mutation := func(suffix string) model.HeaderMutation {
			return model.HeaderMutation{
				Set:    []model.Header{{Name: "X-Set", Value: "set" + suffix}, {Name: "X-Literal", Value: "%REQ(:path)% 100% %%"}},
				Add:    []model.Header{{Name: "X-Add", Value: "add" + suffix}, {Name: "X-New", Value: "new" + suffix}},
				Remove: []string{"X-Remove", "X-From-Backend"},
			}
		}
		rule := under("/rule", to(b))
		rule.RequestHeaders, rule.ResponseHeaders = mutation(""), mutation("")
		both := under("/both", to(b))
		both.RequestHeaders, both.ResponseHeaders = mutation(""), mutation("")
		both.RequestHeaders.Set = append(both.RequestHeaders.Set, model.Header{Name: "X-Undone", Value: "rule"})
		both.Forward.Backends[0].RequestHeaders = mutation("-backend")
		both.Forward.Backends[0].RequestHeaders.Remove = append(both.Forward.Backends[0].RequestHeaders.Remove, "x-undone")
		both.Forward.Backends[0].ResponseHeaders = mutation("-backend")
		hostSet := under("/host", to(b))
		hostSet.RequestHeaders = model.HeaderMutation{
			Set: []model.Header{{Name: "Host", Value: "set.example.org"}}, Add: []model.Header{{Name: "host", Value: "x"}}, Remove: []string{"HOST"},
		}
		respond := model.Route{Match: model.Match{Path: model.PathMatch{Value: "/respond"}}, Respond: &model.Respond{Status: 500}, ResponseHeaders: mutation("")}
		g.serve([]model.VirtualHost{host("*", rule, both, hostSet, respond)}, b)

		for path, want := range map[string]map[string][]string{
			"/rule": {"X-Set": {"set"}, "X-Add": {"sent", "add"}, "X-New": {"new"}, "X-Remove": nil, "X-Literal": {"%REQ(:path)% 100% %%"}},
			"/both": {"X-Set": {"set-backend"}, "X-Add": {"sent", "add", "add-backend"}, "X-New": {"new", "new-backend"}, "X-Remove": nil, "X-Undone": nil},
		} {
			got := g.get("http://a.example.com"+path, "X-Set", "sent", "X-Set", "twice", "X-Add", "sent", "X-Remove", "sent")
			for name, values := range want {
				if !slices.Equal(got.Received.Header[name], values) {
					t.Errorf("%s: the backend saw %s: %q, want %q", path, name, got.Received.Header[name], values)
				}
			}
			if got.Header.Get("X-From-Backend") != "" || got.Header.Get("X-Literal") != "%REQ(:path)% 100% %%" ||
				got.Header.Get("X-Set") != want["X-Set"][0] || !slices.Equal(got.Header["X-New"], want["X-New"]) {
				t.Errorf("%s: the client saw %v", path, got.Header)
			}
		}
		if got := g.get("http://a.example.com/host").Received; got.Host != "set.example.org" {
			t.Errorf("set host: %s", got.Host)
		}
		if got := g.get("http://a.example.com/respond"); got.Status != 500 || got.Header.Get("X-Set") != "set" {
			t.Errorf("headers of a response of ours: %d %v", got.Status, got.Header)
		}
	})
}

func TestMirrors(t *testing.T) {
	inBothModes(t, func(t *testing.T, g *gateway) {
		b, all, half, nobody := echo(t, "b"), echo(t, "all"), echo(t, "half"), echo(t, "nobody")
		f := to(b)
		f.Mirrors = []model.Mirror{
			{Backend: all.Backend, Numerator: 1, Denominator: 1},
			{Backend: half.Backend, Numerator: 25, Denominator: 50},
			{Backend: nobody.Backend, Numerator: 0, Denominator: 100},
		}
		g.serve([]model.VirtualHost{host("*", under("/", f))}, b, all, half, nobody)
		for i := range 400 {
			g.get(fmt.Sprintf("http://a.example.com/%d", i))
		}
		for range 400 {
			select {
			case got := <-all.seen:
				if got.Host != "a.example.com" {
					t.Fatalf("the mirror saw %+v", got)
				}
			case <-time.After(5 * time.Second):
				t.Fatal("a mirrored request is missing")
			}
		}
		if n := len(half.seen); n < 150 || n > 250 || len(nobody.seen) != 0 {
			t.Errorf("mirrored %d and %d of 400, want about 200 and 0", n, len(nobody.seen))
		}
	})
}

func TestRetriesAndTimeouts(t *testing.T) {
	inBothModes(t, func(t *testing.T, g *gateway) {
		b, slow, mixed := echo(t, "b"), stuck(t, "slow"), echo(t, "mixed")
		mixed.addresses = append(mixed.addresses, closedPort(t))
		slices.SortFunc(mixed.addresses, netip.AddrPort.Compare)
		with := func(f *model.Forward, change func(*model.Forward)) *model.Forward { change(f); return f }
		g.serve([]model.VirtualHost{host("*",
			under("/codes", with(to(b), func(f *model.Forward) {
				f.Retry = &model.Retry{Codes: []int{502, 503}, Attempts: 2, Backoff: time.Millisecond}
			})),
			under("/connect", with(to(mixed), func(f *model.Forward) { f.Retry = &model.Retry{Attempts: 3} })),
			under("/none", to(b)),
			under("/request", with(to(slow), func(f *model.Forward) { f.Timeout = 100 * time.Millisecond })),
			under("/backend", with(to(slow), func(f *model.Forward) { f.Timeout, f.BackendTimeout = time.Minute, 100*time.Millisecond })),
			under("/each", with(to(slow), func(f *model.Forward) {
				f.BackendTimeout, f.Retry = 50*time.Millisecond, &model.Retry{Attempts: 2, Backoff: time.Millisecond}
			})),
		)}, b, slow, mixed)

		tries := func(path string, from *backend) int {
			for len(from.seen) > 0 {
				<-from.seen
			}
			g.get("http://a.example.com" + path)
			return len(from.seen)
		}
		for path, want := range map[string]int{"/codes?status=503": 3, "/codes?status=502": 3, "/codes?status=500": 1, "/codes": 1, "/none?status=503": 1} {
			if n := tries(path, b); n != want {
				t.Errorf("%s: %d tries, want %d", path, n, want)
			}
		}
		for range 20 {
			if got := g.get("http://a.example.com/connect"); got.Status != 200 {
				t.Errorf("one of two endpoints is closed: %d", got.Status)
			}
		}
		for path, want := range map[string]int{"/request": 1, "/backend": 1, "/each": 3} {
			start := time.Now()
			if n := tries(path, slow); n != want || time.Since(start) > 2*time.Second {
				t.Errorf("%s: %d tries in %v, want %d", path, n, time.Since(start), want)
			}
			if got := g.get("http://a.example.com" + path); got.Status != 504 {
				t.Errorf("%s: %d, want 504", path, got.Status)
			}
		}
	})
}

// stuck starts a backend that takes requests and does not answer.
func stuck(t *testing.T, name string) *backend {
	b := echo(t, name)
	b.handler.Store(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	return b
}

func TestProtocols(t *testing.T) {
	inBothModes(t, func(t *testing.T, g *gateway) {
		b, h2 := echo(t, "b"), echo(t, "h2")
		h2.Protocol = model.BackendH2C
		b.handler.Store(upgrade)
		g.serve([]model.VirtualHost{host("*", under("/h2", to(h2)), under("/ws", to(b)))}, b, h2)
		if got := g.get("http://a.example.com/h2").Received; got.Proto != "HTTP/2.0" || got.Host != "a.example.com" {
			t.Errorf("the h2c backend saw %+v", got)
		}
		connection, err := net.Dial("tcp", netip.AddrPortFrom(g.address, gatewayPort).String())
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		connection.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprint(connection, "GET /ws HTTP/1.1\r\nHost: A.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nping")
		var text strings.Builder
		for buffer := make([]byte, 1000); !strings.HasSuffix(text.String(), "pong"); {
			n, err := connection.Read(buffer)
			if err != nil {
				t.Fatalf("%q: %v", text.String(), err)
			}
			text.Write(buffer[:n])
		}
		if !strings.HasPrefix(text.String(), "HTTP/1.1 101") {
			t.Errorf("upgrade: %q", text.String())
		}
	})
}

// upgrade answers as a WebSocket server would, then "ping" with "pong".
func upgrade(w http.ResponseWriter, r *http.Request) {
	connection, buffer, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer connection.Close()
	fmt.Fprint(connection, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	ping := make([]byte, 4)
	if _, err := buffer.Read(ping); err == nil && string(ping) == "ping" {
		fmt.Fprint(connection, "pong")
	}
}
