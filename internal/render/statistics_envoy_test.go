package render_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/model"
)

// What a listener does is counted, and of its route tables, which there may be
// thousands of, only what came of them.
func TestWhatIsCounted(t *testing.T) {
	inBothModes(t, func(t *testing.T, g *gateway) {
		b := echo(t, "b")
		g.serve([]model.VirtualHost{host("a.example.com", under("/", to(b)))}, b)
		g.get("http://a.example.com/")
		prefix := "http." + g.listener.Key() + "."
		var routes []string
		counted := shared.counted(t, prefix)
		for name := range counted {
			if strings.HasPrefix(name, "rds.") || strings.HasPrefix(name, "scoped_rds.") {
				routes = append(routes, name[strings.LastIndexByte(name, '.')+1:])
			}
		}
		slices.Sort(routes)
		if got := slices.Compact(routes); !slices.Equal(got, []string{"update_rejected", "update_success"}) {
			t.Errorf("of route tables %v are counted", got)
		}
		for _, name := range []string{"downstream_rq_2xx", "downstream_cx_total", "no_route"} {
			if counted[name] == "" {
				t.Errorf("%s is not counted", name)
			}
		}
		if got := counted["downstream_rq_2xx"]; got != "1" {
			t.Errorf("%s requests were answered", got)
		}
	})
}

// counted are Envoy's statistics whose names begin with a prefix, by the rest
// of the name.
func (m *mesh) counted(t *testing.T, prefix string) map[string]string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(m.dir, "admin.sock"))
	}}}
	response, err := client.Get("http://envoy/stats?filter=" + url.QueryEscape("^"+regexp.QuoteMeta(prefix)))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("statistics: %s, %v", response.Status, err)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		all[strings.TrimPrefix(name, prefix)] = value
	}
	return all
}
