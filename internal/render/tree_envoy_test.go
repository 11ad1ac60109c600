package render_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
)

// TestOrder compares Envoy with the model's own words, "the first that
// matches answers", over random routes with few distinct paths, so that
// they overlap in every way. 20 routes are tried in order, 200 by the tree.
func TestOrder(t *testing.T) {
	inBothModes(t, func(t *testing.T, g *gateway) {
		seed := rand.Uint64()
		t.Log("seed", seed)
		random := rand.New(rand.NewPCG(seed, 0))
		var hosts []model.VirtualHost
		for _, n := range []int{20, 200, 200, 200} {
			v := host(fmt.Sprintf("h%d.example.com", len(hosts)))
			for i := range n {
				v.Routes = append(v.Routes, model.Route{
					Match:           randomMatch(random),
					Respond:         &model.Respond{Status: 200},
					ResponseHeaders: model.HeaderMutation{Set: []model.Header{{Name: "X-Rule", Value: strconv.Itoa(i)}}},
				})
			}
			hosts = append(hosts, v)
		}
		if isTree(t, hosts[0]) || !slices.ContainsFunc(hosts, func(v model.VirtualHost) bool { return isTree(t, v) }) {
			t.Fatal("the sizes do not lead to both ways")
		}
		g.serve(hosts)
		for _, v := range hosts {
			for range 300 {
				method, path := []string{"GET", "PUT"}[random.IntN(2)], randomPath(random)
				query := []string{"", "?", "?q=/a/b"}[random.IntN(3)]
				got := g.do(method, "http://"+v.Host+path+query).Header.Get("X-Rule")
				if want := firstMatch(v.Routes, method, path); got != want {
					t.Fatalf("%s %s%s of %s: rule %q, want %q", method, path, query, v.Host, got, want)
				}
			}
		}
	})
}

func isTree(t *testing.T, v model.VirtualHost) bool {
	m := message(t, render.RouteConfiguration("t", []render.Host{render.VirtualHost(v)}))
	return m.(*routev3.RouteConfiguration).VirtualHosts[0].Matcher != nil
}

// randomPath has up to four segments of few kinds, and sometimes a slash at
// its end.
func randomPath(r *rand.Rand) string {
	var path strings.Builder
	for range r.IntN(5) {
		path.WriteString([]string{"/a", "/b", "/ab", "/a.b", "/c", "/cc"}[r.IntN(6)])
	}
	if path.Len() == 0 || r.IntN(4) == 0 {
		path.WriteString("/")
	}
	return path.String()
}

func randomMatch(r *rand.Rand) model.Match {
	m := model.Match{Path: model.PathMatch{Value: randomPath(r)}}
	if m.Path.Value == "/" && r.IntN(8) > 0 {
		m.Path.Value = "/c/cc/a"
	}
	if m.Path.Kind = model.PathExact; r.IntN(2) == 0 {
		m.Path.Kind = model.PathPrefix
		if m.Path.Value = strings.TrimSuffix(m.Path.Value, "/"); m.Path.Value == "" {
			m.Path.Value = "/"
		}
	}
	if r.IntN(100) == 0 {
		m.Path = model.PathMatch{Kind: model.PathRegex, Value: []string{"/a+.*", "/.*/b", "/(ab|b)/.*"}[r.IntN(3)]}
	}
	if r.IntN(3) > 0 || m.Path.Value == "/" {
		m.Method = []string{"GET", "PUT", "POST"}[r.IntN(3)]
	}
	return m
}

// firstMatch is the oracle. None: empty.
func firstMatch(routes []model.Route, method, path string) string {
	for i, r := range routes {
		p := r.Match.Path
		matches := false
		switch p.Kind {
		case model.PathExact:
			matches = path == p.Value
		case model.PathPrefix:
			matches = p.Value == "/" || path == p.Value || strings.HasPrefix(path, p.Value+"/")
		case model.PathRegex:
			matches = regexp.MustCompile("^(?:" + p.Value + ")$").MatchString(path)
		}
		if matches && (r.Match.Method == "" || r.Match.Method == method) {
			return strconv.Itoa(i)
		}
	}
	return ""
}

// TestManyPaths has what the tree is for: 5,000 paths on one host.
func TestManyPaths(t *testing.T) {
	g := newGateway(t, false)
	var routes []model.Route
	for i := range 5000 {
		status := 200 + i%100
		routes = append(routes, model.Route{
			Match:   model.Match{Path: model.PathMatch{Value: fmt.Sprintf("/service-%d", i)}},
			Respond: &model.Respond{Status: status},
		})
	}
	v := host("*", routes...)
	if !isTree(t, v) {
		t.Fatal("5,000 paths are tried in order")
	}
	g.serve([]model.VirtualHost{v})
	for _, i := range []int{0, 1, 42, 499, 4321, 4999} {
		if got := g.get(fmt.Sprintf("http://x/service-%d/y", i)); got.Status != 200+i%100 {
			t.Errorf("path %d: %d", i, got.Status)
		}
	}
	if got := g.get("http://x/service-5000"); got.Status != 404 {
		t.Errorf("no such path: %d", got.Status)
	}
}
