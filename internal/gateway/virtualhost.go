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
	for i := range attachments {
		a := &attachments[i]
		if a.Misdirected {
			return model.VirtualHost{Table: table, Host: host, Misdirected: true}
		}
		name := a.Route.Name.String()
		for j := range a.Rules {
			candidates = append(candidates, candidate{rank(&a.Rules[j].Match), a.Created, name, &a.Rules[j]})
		}
	}
	slices.SortFunc(candidates, candidate.compare)
	if len(candidates) > 0 {
		out.Routes = make([]model.Route, len(candidates))
	}
	for i, c := range candidates {
		out.Routes[i] = *c.route
		out.Routes[i].Rank, out.Routes[i].Origin.Created = c.rank, c.created
	}
	return out
}

// candidate is a route with what its place depends on.
type candidate struct {
	rank    uint64
	created time.Time
	name    string
	route   *model.Route
}

func (c candidate) compare(other candidate) int {
	if c.rank != other.rank {
		return cmp.Compare(c.rank, other.rank)
	}
	if d := c.created.Compare(other.created); d != 0 {
		return d
	}
	if d := strings.Compare(c.name, other.name); d != 0 {
		return d
	}
	a, b := &c.route.Origin, &other.route.Origin
	return cmp.Or(strings.Compare(a.Object.Kind, b.Object.Kind), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Match, b.Match))
}

// rank is criteria 1 to 4 in one number: the lowest goes first. The lengths
// and counts that the CRDs allow are far below what fits.
func rank(m *model.Match) uint64 {
	const most = 1<<14 - 1
	first := func(n int) uint64 { return uint64(most - min(n, most)) }
	path, length := uint64(2), len(m.Path.Value)
	switch m.Path.Kind {
	case model.PathExact: // two that differ never match the same request
		path, length = 0, 0
	case model.PathRegex:
		path = 1
	}
	method := uint64(1)
	if m.Method != "" {
		method = 0
	}
	return path<<43 | first(length)<<29 | method<<28 | first(len(m.Headers))<<14 | first(len(m.Query))
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
