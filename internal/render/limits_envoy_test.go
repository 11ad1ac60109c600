package render_test

import (
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/model"
)

// TestLongValues has the longest that the Gateway API allows of everything.
func TestLongValues(t *testing.T) {
	inBothModes(t, func(t *testing.T, g *gateway) {
		b := echo(t, "b")
		path := "/" + strings.Repeat("p.", 511) + "x"
		value := strings.Repeat("v%", 2048)
		strip := under(path, to(b))
		strip.Forward.Rewrite = &model.Rewrite{Path: prefixPath("/")}
		full := under("/full", to(b))
		full.Forward.Rewrite = &model.Rewrite{Path: fullPath(path)}
		regex := under(path[:1000]+"[0-9]{1,9}", to(b))
		regex.Match.Path.Kind = model.PathRegex
		header := under("/", to(b))
		header.Match.Headers = []model.ValueMatch{{Name: strings.Repeat("n", 256), Value: value}}
		header.Match.Query = []model.ValueMatch{{Name: strings.Repeat("q", 256), Value: strings.Repeat("w", 1024)}}
		header.RequestHeaders = model.HeaderMutation{Set: []model.Header{{Name: "X-Long", Value: value}}}
		hostname := strings.Repeat(strings.Repeat("h", 61)+".", 4) + "com"
		g.serve([]model.VirtualHost{host(hostname, strip, full, regex, header)}, b)
		for sent, want := range map[string]string{path + "/rest": "/rest", path: "/", "/full": path, path[:1000] + "123": path[:1000] + "123"} {
			if got := g.get("http://" + hostname + sent).Received; got == nil || got.URI != want {
				t.Errorf("%.20s…: the backend saw %+v", sent, got)
			}
		}
		got := g.get("http://"+hostname+"/x?"+strings.Repeat("q", 256)+"="+strings.Repeat("w", 1024), strings.Repeat("n", 256), value)
		if got.Received == nil || got.Received.Header.Get("X-Long") != value {
			t.Errorf("long header: %s", got.by())
		}
	})
}
