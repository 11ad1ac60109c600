package render

import (
	"slices"
	"strings"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"

	"github.com/waggle-mesh/waggle/internal/model"
)

const (
	// treeAbove is the number of routes up to which trying one after the
	// other is as fast as the tree.
	treeAbove = 30
	// treeGrowth bounds how often a route stands in the tree on average.
	// Regular expressions stand everywhere: a host with many of them among
	// many paths is better off without.
	treeGrowth = 8
)

// pathRoute is a route and the path that it is found by.
type pathRoute struct {
	path  model.PathMatch
	route *routev3.Route
}

// tree finds routes by the longest literal path that a request begins with:
//
//	/        ─▶ /…
//	/cart    ─▶ =/cart, /cart/…, /…
//	/cart/1  ─▶ =/cart/1, /cart/1/…, /cart/…, /…
//
// What it finds is a list of all routes that can match at all, in order, and
// the list is tried as the whole would be: the tree changes nothing but the
// cost. It is nil where it does not pay.
func tree(routes []pathRoute) *xdsmatcherv3.Matcher {
	if len(routes) <= treeAbove {
		return nil
	}
	index := indexPaths(routes)
	lists := map[string]*xdsmatcherv3.Matcher_OnMatch{}
	size := 0
	for key := range index.byKey() {
		list := index.candidates(key)
		if size += len(list); size > treeGrowth*len(routes) {
			return nil
		}
		lists[key] = routeList(routes, list)
	}
	matcher := &xdsmatcherv3.Matcher{MatcherType: &xdsmatcherv3.Matcher_MatcherTree_{MatcherTree: &xdsmatcherv3.Matcher_MatcherTree{
		Input: xdsExtension("envoy.matching.inputs.request_headers", &matcherv3.HttpRequestHeaderMatchInput{HeaderName: ":path"}),
		TreeType: &xdsmatcherv3.Matcher_MatcherTree_PrefixMatchMap{
			PrefixMatchMap: &xdsmatcherv3.Matcher_MatcherTree_MatchMap{Map: lists},
		},
	}}}
	if len(index.regex) > 0 {
		matcher.OnNoMatch = routeList(routes, index.regex)
	}
	return matcher
}

// pathIndex holds the positions of routes by their literal paths.
type pathIndex struct {
	exact, prefix map[string][]int
	regex         []int
}

func indexPaths(routes []pathRoute) pathIndex {
	index := pathIndex{exact: map[string][]int{}, prefix: map[string][]int{}}
	for i, r := range routes {
		switch r.path.Kind {
		case model.PathExact:
			index.exact[r.path.Value] = append(index.exact[r.path.Value], i)
		case model.PathPrefix:
			index.prefix[r.path.Value] = append(index.prefix[r.path.Value], i)
		default:
			index.regex = append(index.regex, i)
		}
	}
	return index
}

// byKey gives every literal path.
func (x pathIndex) byKey() map[string]struct{} {
	keys := map[string]struct{}{}
	for key := range x.exact {
		keys[key] = struct{}{}
	}
	for key := range x.prefix {
		keys[key] = struct{}{}
	}
	return keys
}

// candidates gives, in order, the routes that can match a path of which key
// is the longest literal beginning: those with this very path, those with a
// prefix that ends before a slash in it, and regular expressions.
func (x pathIndex) candidates(key string) []int {
	list := slices.Concat(x.regex, x.exact[key], x.prefix[key])
	for i := range len(key) {
		if i > 0 && key[i] == '/' {
			list = append(list, x.prefix[key[:i]]...)
		}
	}
	if key != "/" && strings.HasPrefix(key, "/") {
		list = append(list, x.prefix["/"]...)
	}
	slices.Sort(list)
	return list
}

func routeList(routes []pathRoute, list []int) *xdsmatcherv3.Matcher_OnMatch {
	action := &routev3.RouteList{}
	for _, i := range list {
		action.Routes = append(action.Routes, routes[i].route)
	}
	return &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{
		Action: xdsExtension("envoy.matching.action.route_list", action),
	}}
}

func xdsExtension(name string, m proto.Message) *xdscorev3.TypedExtensionConfig {
	return &xdscorev3.TypedExtensionConfig{Name: name, TypedConfig: packed(m)}
}
