package gateway

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/waggle-mesh/waggle/internal/model"
)

// VirtualHost merges all attachments of one table and host, in any order.
//
// Its routes stand in the order that the Gateway API gives the matches of
// HTTPRoutes (HTTPRouteRule.matches):
//
//  1. an exact path; then a regular expression, the longer one first; then a
//     prefix, the longer one first. Where regular expressions stand is for
//     implementations to say; between the two they can refine a prefix and
//     do not hide an exact path.
//  2. a method
//  3. the most headers
//  4. the most query parameters
//  5. the oldest route, then the first by "namespace/name"
//  6. the first rule of a route, then the first match of a rule
func VirtualHost(table, host string, attachments []Attachment) model.VirtualHost {
	out := model.VirtualHost{Table: table, Host: host}
	var candidates []candidate
	for _, a := range attachments {
		if a.Misdirected {
			return model.VirtualHost{Table: table, Host: host, Misdirected: true}
		}
		for i := range a.Rules {
			candidates = append(candidates, candidate{&a.Rules[i], a.Created, a.Route.Name.String()})
		}
	}
	slices.SortFunc(candidates, comparePrecedence)
	for _, c := range candidates {
		out.Routes = append(out.Routes, *c.route)
	}
	return out
}

// candidate is a route with what its rank depends on.
type candidate struct {
	route   *model.Route
	created time.Time
	name    string
}

func comparePrecedence(a, b candidate) int {
	m, n := &a.route.Match, &b.route.Match
	return cmp.Or(
		cmp.Compare(pathRank(m.Path.Kind), pathRank(n.Path.Kind)),
		comparePathLength(m.Path, n.Path),
		more(truth(m.Method != ""), truth(n.Method != "")),
		more(len(m.Headers), len(n.Headers)),
		more(len(m.Query), len(n.Query)),
		a.created.Compare(b.created),
		strings.Compare(a.name, b.name),
		strings.Compare(a.route.Origin.Object.Kind, b.route.Origin.Object.Kind),
		cmp.Compare(a.route.Origin.Rule, b.route.Origin.Rule),
		cmp.Compare(a.route.Origin.Match, b.route.Origin.Match),
	)
}

func pathRank(kind model.PathMatchKind) int {
	switch kind {
	case model.PathExact:
		return 0
	case model.PathRegex:
		return 1
	}
	return 2
}

// comparePathLength ranks longer paths first, but for exact ones, of which
// two that differ never match the same request.
func comparePathLength(a, b model.PathMatch) int {
	if a.Kind == model.PathExact {
		return 0
	}
	return more(len(a.Value), len(b.Value))
}

// more ranks the greater number first.
func more(a, b int) int { return cmp.Compare(b, a) }

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// compareStrings compares pairs of strings, the first pair first.
func compareStrings(pairs ...string) int {
	for i := 0; i+1 < len(pairs); i += 2 {
		if c := strings.Compare(pairs[i], pairs[i+1]); c != 0 {
			return c
		}
	}
	return 0
}
