package render_test

import (
	"fmt"
	"testing"

	"github.com/waggle-mesh/waggle/internal/model"
)

func TestHosts(t *testing.T) {
	inBothModes(t, func(t *testing.T, g *gateway) {
		exact, wild, deeper, any := echo(t, "exact"), echo(t, "wild"), echo(t, "deeper"), echo(t, "any")
		only := model.Match{Path: model.PathMatch{Kind: model.PathExact, Value: "/only"}}
		g.serve([]model.VirtualHost{
			host("a.example.com", model.Route{Match: only, Forward: to(exact)}),
			host("*.example.com", model.Route{Match: all, Forward: to(wild)}),
			host("*.b.example.com", model.Route{Match: all, Forward: to(deeper)}),
			host("*", model.Route{Match: all, Forward: to(any)}),
		}, exact, wild, deeper, any)

		for _, c := range []struct{ host, path, want string }{
			{"a.example.com", "/only", "exact"},
			{"a.example.com", "/other", "404"}, // no other host takes it
			{"a.example.com:10080", "/only", "exact"},
			{"a.example.com:10080", "/other", "404"},
			{"a.example.com:81", "/only", "exact"},
			{"a.example.com:81", "/other", "404"},
			{"a.example.com:", "/only", "exact"}, // Envoy does not read the port
			{"a.example.com:http", "/only", "exact"},
			{"A.example.com.:http", "/only", "exact"},
			{"A.Example.COM", "/only", "exact"},
			{"A.Example.COM", "/other", "404"},
			{"A.Example.com:10080", "/only", "exact"},
			{"a.example.com.", "/only", "exact"},
			{"a.example.com.", "/other", "404"},
			{"A.example.com.:10080", "/only", "exact"},
			{"x.example.com", "/", "wild"},
			{"X.Example.com.:10080", "/", "wild"},
			{"x.y.example.com", "/", "wild"},
			{"x.b.example.com", "/", "deeper"},
			{"y.x.b.example.com:5", "/", "deeper"},
			{"b.example.com", "/", "wild"},
			{"example.com", "/", "any"},
			{"example.org", "/", "any"},
			{"10.1.2.3:10080", "/", "any"},
			{"[::1]:10080", "/", "any"},
			{"localhost", "/", "any"},
			{"*", "/", "any"},
			{"any", "/", "any"},
			{"|", "/", "400"},
		} {
			got := g.raw(fmt.Sprintf("GET %s?q=1 HTTP/1.1\r\nHost: %s\r\nx-waggle-host: a.example.com\r\nConnection: close\r\n\r\n", c.path, c.host))
			if got.by() != c.want {
				t.Errorf("Host %s, path %s: answered by %s, want %s", c.host, c.path, got.by(), c.want)
			}
			if got.Received != nil && (got.Received.Host != c.host || got.Received.URI != c.path+"?q=1") {
				t.Errorf("the backend saw Host %q and %q, not %q and %q", got.Received.Host, got.Received.URI, c.host, c.path+"?q=1")
			}
		}
		if got := g.raw("GET / HTTP/1.0\r\n\r\n"); got.by() != "any" || got.Received.Host != g.address.String() {
			t.Errorf("HTTP/1.0 without Host: %+v", got)
		}
		if got := g.raw("GET /only HTTP/1.0\r\nHost: a.example.com\r\n\r\n"); got.by() != "exact" {
			t.Errorf("HTTP/1.0 with Host: %s", got.by())
		}
		if got := g.raw("GET / HTTP/1.1\r\nConnection: close\r\n\r\n"); got.Status != 400 {
			t.Errorf("HTTP/1.1 without Host: %d", got.Status)
		}
	})
}
