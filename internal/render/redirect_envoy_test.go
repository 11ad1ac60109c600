package render_test

import (
	"testing"

	"github.com/waggle-mesh/waggle/internal/model"
)

// redirectTo is a route with a prefix match that redirects.
func redirectTo(prefix string, r model.Redirect) model.Route {
	if r.Status == 0 {
		r.Status = 302
	}
	return model.Route{Match: model.Match{Path: model.PathMatch{Value: prefix}}, Redirect: &r}
}

func fullPath(value string) *model.PathRewrite {
	return &model.PathRewrite{Kind: model.ReplaceFullPath, Value: value}
}

func prefixPath(value string) *model.PathRewrite {
	return &model.PathRewrite{Kind: model.ReplacePrefixMatch, Value: value}
}

func TestRedirects(t *testing.T) {
	inBothModes(t, func(t *testing.T, g *gateway) {
		routes := []model.Route{
			redirectTo("/host", model.Redirect{Host: "example.org"}),
			redirectTo("/scheme", model.Redirect{Scheme: "https"}),
			redirectTo("/port", model.Redirect{Port: 8443}),
			redirectTo("/whole", model.Redirect{Scheme: "https", Host: "example.org", Port: 8443, Path: fullPath("/new"), Status: 301}),
			redirectTo("/full", model.Redirect{Path: fullPath("/50%25/new")}),
			redirectTo("/prefix", model.Redirect{Path: prefixPath("/replaced")}),
			redirectTo("/strip", model.Redirect{Path: prefixPath("/")}),
			redirectTo("/empty", model.Redirect{Path: prefixPath("")}),
			redirectTo("/303", model.Redirect{Host: "example.org", Status: 303}),
			redirectTo("/307", model.Redirect{Host: "example.org", Status: 307}),
			redirectTo("/308", model.Redirect{Host: "example.org", Status: 308}),
			redirectTo("/", model.Redirect{Path: prefixPath("/base")}),
		}
		g.serve([]model.VirtualHost{host("a.example.com", routes...), host("*.example.net", routes...), host("*", routes...)})
		for _, c := range []struct {
			url, location string
			status        int
		}{
			{"http://a.example.com/host/x?q=1", "http://example.org/host/x?q=1", 302},
			{"http://a.example.com:10080/host", "http://example.org/host", 302},
			{"http://a.example.com:10080/scheme", "https://a.example.com/scheme", 302},
			{"http://a.example.com/scheme", "https://a.example.com/scheme", 302},
			{"http://a.example.com:10080/port", "http://a.example.com:8443/port", 302},
			{"http://a.example.com/whole/x?q=1", "https://example.org:8443/new?q=1", 301},
			{"http://a.example.com/full", "http://a.example.com/50%25/new", 302},
			{"http://a.example.com/prefix/x?q=1", "http://a.example.com/replaced/x?q=1", 302},
			{"http://a.example.com/prefix?q=1", "http://a.example.com/replaced?q=1", 302},
			{"http://a.example.com/prefix/", "http://a.example.com/replaced/", 302},
			{"http://a.example.com/strip/x", "http://a.example.com/x", 302},
			{"http://a.example.com/strip?q=1", "http://a.example.com/?q=1", 302},
			{"http://a.example.com/strip/", "http://a.example.com/", 302},
			{"http://a.example.com/empty", "http://a.example.com/", 302},
			{"http://a.example.com/empty/x", "http://a.example.com/x", 302},
			{"http://a.example.com/303", "http://example.org/303", 303},
			{"http://a.example.com/307", "http://example.org/307", 307},
			{"http://a.example.com/308", "http://example.org/308", 308},
			{"http://a.example.com/other/x", "http://a.example.com/base/other/x", 302},
			{"http://a.example.com/", "http://a.example.com/base/", 302},
			{"http://x.example.net:10080/prefix/x?q=1", "http://x.example.net/replaced/x?q=1", 302},
			{"http://x.example.net/prefix/x", "http://x.example.net/replaced/x", 302},
			{"http://X.example.net.:10080/scheme", "https://X.example.net./scheme", 302},
			{"http://x.example.net:10080/port", "http://x.example.net:8443/port", 302},
			{"http://example.org:10080/scheme", "https://example.org/scheme", 302},
			{"http://10.1.2.3:10080/scheme", "https://10.1.2.3/scheme", 302},
			{"http://[::1]:10080/scheme", "https://[::1]/scheme", 302},
			{"http://[::1]/scheme", "https://[::1]/scheme", 302},
		} {
			got := g.get(c.url)
			if got.Status != c.status || got.Header.Get("Location") != c.location {
				t.Errorf("%s: %d to %q, want %d to %q", c.url, got.Status, got.Header.Get("Location"), c.status, c.location)
			}
		}
	})
}
