package render_test

import (
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/model"
)

func TestCORS(t *testing.T) {
	inBothModes(t, func(t *testing.T, g *gateway) {
		b := echo(t, "b")
		with := func(prefix string, c model.CORS) model.Route {
			r := under(prefix, to(b))
			r.CORS = &c
			return r
		}
		routes := []model.Route{
			with("/some", model.CORS{
				AllowOrigins: []string{"https://one.example.com", "https://*.example.org"}, AllowMethods: []string{"GET", "PUT"},
				AllowHeaders: []string{"X-One", "X-Two"}, ExposeHeaders: []string{"X-Three"}, AllowCredentials: true, MaxAge: time.Hour,
			}),
			with("/any", model.CORS{AllowOrigins: []string{"*"}, AllowMethods: []string{"*"}, AllowHeaders: []string{"*"}}),
			with("/credentials", model.CORS{AllowOrigins: []string{"*"}, AllowMethods: []string{"*"}, AllowCredentials: true}),
			under("/", to(b)),
		}
		g.serve([]model.VirtualHost{host("a.example.com", routes...), host("*", routes...)}, b)
		for i, c := range []struct{ path, origin, allowed string }{
			{"/some", "https://one.example.com", "https://one.example.com"},
			{"/some", "https://a.b.example.org", "https://a.b.example.org"},
			{"/some", "https://example.org", ""},
			{"/some", "https://evil.com/.example.org", ""},
			{"/some", "http://one.example.com", ""},
			{"/any", "https://whatever.net:99", "https://whatever.net:99"},
			{"/other", "https://one.example.com", ""},
		} {
			url := []string{"http://a.example.com", "http://b.example.com", "http://A.example.com"}[i%3] + c.path
			got := g.get(url, "Origin", c.origin)
			if got.by() != "b" || got.Header.Get("Access-Control-Allow-Origin") != c.allowed {
				t.Errorf("%s from %s: %s, allowed %q, want %q", c.path, c.origin, got.by(), got.Header.Get("Access-Control-Allow-Origin"), c.allowed)
			}
			pre := g.do("OPTIONS", url, "Origin", c.origin, "Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "x-one")
			if ours := pre.Received == nil; pre.Header.Get("Access-Control-Allow-Origin") != c.allowed || ours != (c.path != "/other") {
				t.Errorf("preflight %s from %s: %s %v", c.path, c.origin, pre.by(), pre.Header)
			}
		}
		pre := g.do("OPTIONS", "http://a.example.com/some", "Origin", "https://one.example.com", "Access-Control-Request-Method", "PUT")
		for name, want := range map[string]string{
			"Access-Control-Allow-Methods": "GET,PUT", "Access-Control-Allow-Headers": "X-One,X-Two",
			"Access-Control-Allow-Credentials": "true", "Access-Control-Max-Age": "3600",
		} {
			if got := pre.Header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		pre = g.do("OPTIONS", "http://a.example.com/credentials", "Origin", "https://x.com", "Access-Control-Request-Method", "PATCH")
		if got := pre.Header.Get("Access-Control-Allow-Methods"); got != "PATCH" {
			t.Errorf("every method with credentials: %q, want the one that was asked for", got)
		}
		if got := g.get("http://a.example.com/some", "Origin", "https://one.example.com").Header.Get("Access-Control-Expose-Headers"); got != "X-Three" {
			t.Errorf("exposed: %q", got)
		}
	})
}
