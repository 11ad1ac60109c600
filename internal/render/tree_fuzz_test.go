package render

import (
	"strings"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/waggle-mesh/waggle/internal/model"
)

// FuzzPaths holds the tree against the words of the model, "the first that
// matches answers": each line of rules is a path match ("=/a" exact, "~" any,
// else a prefix), and what the tree finds for a path has the same first match.
func FuzzPaths(f *testing.F) {
	f.Add("/\n/a\n=/a\n/a/b\n=/a/b\n~\n/a/b/c", "/a/b/c")
	f.Add("/cart\n=/cart/1\n/\n/cart/1", "/cart/12")
	f.Add("/a\n=/a/\n/a/b", "/a/")
	f.Add("=/aa\n/a\n/aa\n/aaa/b", "/aaa")
	f.Fuzz(func(t *testing.T, rules, path string) {
		if !strings.HasPrefix(path, "/") {
			return
		}
		var routes []pathRoute
		for line := range strings.SplitSeq(rules, "\n") {
			m := model.PathMatch{Kind: model.PathPrefix, Value: line}
			if rest, ok := strings.CutPrefix(line, "="); ok {
				m = model.PathMatch{Kind: model.PathExact, Value: rest}
			} else if line == "~" {
				m = model.PathMatch{Kind: model.PathRegex, Value: ".*"}
			}
			if m.Kind != model.PathRegex && !strings.HasPrefix(m.Value, "/") {
				continue
			}
			if m.Kind == model.PathPrefix && len(m.Value) > 1 {
				m.Value = strings.TrimRight(m.Value, "/")
				if m.Value == "" {
					m.Value = "/"
				}
			}
			routes = append(routes, pathRoute{m, &routev3.Route{}})
		}
		index, longest := indexPaths(routes), ""
		for key := range index.byKey() {
			if strings.HasPrefix(path, key) && len(key) > len(longest) {
				longest = key
			}
		}
		candidates := index.regex
		if longest != "" {
			candidates = index.candidates(longest)
		}
		all := make([]int, len(routes))
		for i := range routes {
			all[i] = i
		}
		if got, want := first(routes, candidates, path), first(routes, all, path); got != want {
			t.Errorf("%q below %q: route %d, want %d of %q", path, longest, got, want, rules)
		}
	})
}

// first gives the first of some routes that matches a path, -1 if none does.
func first(routes []pathRoute, of []int, path string) int {
	for _, i := range of {
		m := routes[i].path
		switch {
		case m.Kind == model.PathRegex, path == m.Value:
			return i
		case m.Kind == model.PathPrefix && strings.HasPrefix(path, strings.TrimSuffix(m.Value, "/")+"/"):
			return i
		}
	}
	return -1
}
