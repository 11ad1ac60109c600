package render_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/model"
)

func TestForwardedHeaders(t *testing.T) {
	inBothModes(t, func(t *testing.T, g *gateway) {
		b := echo(t, "b")
		g.serve([]model.VirtualHost{host("*", under("/", to(b)))}, b)

		// For clients on the loopback Envoy puts the machine's own address
		// into X-Forwarded-For.
		got := g.get("http://a.example.com/").Received.Header
		self := got.Get("X-Forwarded-For")
		if _, err := netip.ParseAddr(self); err != nil {
			t.Errorf("X-Forwarded-For: %v", err)
		}
		for name, want := range map[string]string{"X-Forwarded-Proto": "http", "X-Envoy-Internal": "true", "X-Envoy-External-Address": ""} {
			if got.Get(name) != want {
				t.Errorf("%s: %q, want %q", name, got.Get(name), want)
			}
		}
		if len(got.Get("X-Request-Id")) != 36 {
			t.Errorf("X-Request-Id: %q", got.Get("X-Request-Id"))
		}

		// What the client says of itself is passed on, and not believed.
		got = g.get("http://a.example.com/", "X-Forwarded-For", "203.0.113.7", "X-Forwarded-Proto", "https", "X-Request-Id", "mine",
			"X-Envoy-Internal", "true", "X-Envoy-External-Address", "203.0.113.8").Received.Header
		for name, want := range map[string]string{"X-Forwarded-For": "203.0.113.7," + self, "X-Forwarded-Proto": "http", "X-Envoy-Internal": "", "X-Envoy-External-Address": "127.0.0.1"} {
			if got.Get(name) != want {
				t.Errorf("of a client behind a proxy, %s: %q, want %q", name, got.Get(name), want)
			}
		}
		if got.Get("X-Request-Id") == "mine" {
			t.Error("a stranger chose the request id")
		}
	})
}

// TestProxyProtocol: the client's address is the one that a proxy says before
// the first request, and who says none is not heard.
func TestProxyProtocol(t *testing.T) {
	g := newGateway(t, false)
	g.clients.ProxyProtocol = true
	b := echo(t, "b")
	g.serve([]model.VirtualHost{host("*", under("/", to(b)))}, b)
	const request = "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n"
	for _, c := range []struct{ header, client string }{
		{"PROXY TCP4 203.0.113.7 192.0.2.1 4711 80\r\n", "203.0.113.7"},
		{"PROXY TCP6 2001:db8::7 2001:db8::1 4711 80\r\n", "2001:db8::7"},
		{"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x08\xc0\x00\x02\x01\x12\x67\x00\x50", "203.0.113.8"},
	} {
		if got := g.raw(c.header + request); got.Received == nil || got.Received.Header.Get("X-Forwarded-For") != c.client {
			t.Errorf("%q: %+v, want a request of %s", c.header, got.Received, c.client)
		}
	}
	connection, err := g.dial(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := connection.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	if n, err := connection.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Error("a client that says nothing is answered")
	}
}

// controls are the headers by which an internal client could steer Envoy.
var controls = []string{
	"X-Envoy-Max-Retries", "5",
	"X-Envoy-Retry-On", "5xx,retriable-headers",
	"X-Envoy-Retry-Grpc-On", "unavailable",
	"X-Envoy-Retriable-Status-Codes", "503",
	"X-Envoy-Retriable-Header-Names", "X-Backend",
	"X-Envoy-Upstream-Rq-Timeout-Ms", "1",
	"X-Envoy-Upstream-Rq-Per-Try-Timeout-Ms", "1",
	"X-Envoy-Upstream-Rq-Timeout-Alt-Response", "1",
	"X-Envoy-Expected-Rq-Timeout-Ms", "1",
	"X-Envoy-Upstream-Alt-Stat-Name", "mine",
	"X-Envoy-Hedge-On-Per-Try-Timeout", "true",
	"X-Envoy-Upstream-Stream-Duration-Ms", "1",
	"X-Envoy-Decorator-Operation", "mine",
	"X-Envoy-Force-Trace", "true",
	"X-Envoy-Original-Path", "/mine",
	"X-Envoy-Attempt-Count", "9",
	"X-Envoy-Anything-Else", "1",
}

func TestControlHeadersAreIgnored(t *testing.T) {
	inBothModes(t, func(t *testing.T, g *gateway) {
		b, late := echo(t, "b"), echo(t, "late")
		late.handler.Store(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(100 * time.Millisecond):
			case <-r.Context().Done():
			}
		})
		g.serve([]model.VirtualHost{host("*", under("/late", to(late)), under("/", to(b)))}, b, late)
		if got := g.get("http://a.example.com/?status=503", controls...); got.Status != 503 || len(b.seen) != 1 {
			t.Errorf("status %d after %d tries, want 503 after 1", got.Status, len(b.seen))
		}
		got := <-b.seen
		for name := range got.Header {
			if strings.HasPrefix(name, "X-Envoy-") && name != "X-Envoy-Internal" {
				t.Errorf("the backend saw %s: %q", name, got.Header[name])
			}
		}
		if got := g.get("http://a.example.com/late", controls...); got.Status != 200 {
			t.Errorf("a client set the time-out: %d", got.Status)
		}
	})
}

func TestAmbiguousRequests(t *testing.T) {
	inBothModes(t, func(t *testing.T, g *gateway) {
		b := echo(t, "b")
		g.serve([]model.VirtualHost{host("a.example.com", under("/private", to(b)))}, b)
		for request, want := range map[string]string{
			"GET /public/../private HTTP/1.1":                                              "200 /private",
			"GET //private///x HTTP/1.1":                                                   "200 /private/x",
			"GET /private%2fx HTTP/1.1":                                                    "307 ",
			"GET /private HTTP/1.1\r\nx_under: 1":                                          "400 ",
			"GET /private HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5":     "400 ",
			"GET http://a.example.com/private HTTP/1.1":                                    "200 /private",
			"GET /private HTTP/1.1\r\nX-Long: " + strings.Repeat("x", 70<<10):              "431 ",
			"GET /private HTTP/1.1\r\nHost: b.example.com":                                 "404 ", // two hosts
			"OPTIONS * HTTP/1.1":                                                           "404 ",
			"CONNECT a.example.com:80 HTTP/1.1":                                            "404 ",
			"GET /private HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: something-different": "403 ",
		} {
			got := g.raw(request + "\r\nHost: a.example.com\r\nConnection: close\r\n\r\n")
			uri := ""
			if got.Received != nil {
				uri = got.Received.URI
			}
			if answer := fmt.Sprintf("%d %s", got.Status, uri); answer != want {
				t.Errorf("%.60q: %s, want %s", request, answer, want)
			}
		}
	})
}

func TestMatches(t *testing.T) {
	inBothModes(t, func(t *testing.T, g *gateway) {
		b := echo(t, "b")
		answer := func(status int, m model.Match) model.Route {
			return model.Route{Match: m, Respond: &model.Respond{Status: status}}
		}
		header := func(name, value string, regex bool) []model.ValueMatch {
			return []model.ValueMatch{{Name: name, Value: value, Regex: regex}}
		}
		g.serve([]model.VirtualHost{host("*",
			answer(201, model.Match{Path: model.PathMatch{Kind: model.PathExact, Value: "/exact"}}),
			answer(202, model.Match{Path: model.PathMatch{Value: "/prefix"}}),
			answer(203, model.Match{Path: model.PathMatch{Kind: model.PathRegex, Value: "/re[0-9]+"}}),
			answer(204, model.Match{Path: model.PathMatch{Value: "/m"}, Method: "PUT"}),
			answer(205, model.Match{Path: model.PathMatch{Value: "/h"}, Headers: append(header("x-one", "1", false), header("x-two", "a|b+", true)...)}),
			answer(206, model.Match{Path: model.PathMatch{Value: "/h"}, Headers: header("x-multi", "b", false)}),
			answer(207, model.Match{Path: model.PathMatch{Value: "/q"}, Query: []model.ValueMatch{{Name: "One", Value: "1"}, {Name: "two", Value: "x.*", Regex: true}}}),
			answer(208, model.Match{Path: model.PathMatch{Value: "/host"}, Headers: header("host", "a.example.com", false)}),
			under("/b", to(b)),
		)}, b)
		for _, c := range []struct {
			status      int
			method, uri string
			headers     []string
		}{
			{201, "GET", "/exact?x=1", nil}, {404, "GET", "/exact/", nil}, {404, "GET", "/Exact", nil},
			{202, "GET", "/prefix?x=1", nil}, {202, "GET", "/prefix/", nil}, {202, "GET", "/prefix/x", nil}, {404, "GET", "/prefixes", nil},
			{203, "GET", "/re12?x=/1", nil}, {404, "GET", "/re12/x", nil}, {404, "GET", "/x/re12", nil},
			{204, "PUT", "/m", nil}, {404, "GET", "/m", nil},
			{205, "GET", "/h", []string{"X-One", "1", "x-two", "bbb"}}, {404, "GET", "/h", []string{"x-one", "1"}},
			{404, "GET", "/h", []string{"x-one", "1", "x-two", "xbbb"}}, {404, "GET", "/h", []string{"x-one", "11", "x-two", "a"}},
			{206, "GET", "/h", []string{"X-Multi", "a", "X-Multi", "b"}},
			{207, "GET", "/q?two=xyz&One=1", nil}, {404, "GET", "/q?two=xyz&one=1", nil}, {404, "GET", "/q?One=1&two=yx", nil},
			{208, "GET", "/host", nil},
		} {
			if got := g.do(c.method, "http://a.example.com"+c.uri, slices.Clone(c.headers)...); got.Status != c.status {
				t.Errorf("%s %s %v: %d, want %d", c.method, c.uri, c.headers, got.Status, c.status)
			}
		}
	})
}
