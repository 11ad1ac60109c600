package gateway

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/model"
)

// request is as much of a request as routes of this test look at.
type request struct {
	path, method   string
	headers, query map[string]string
}

// TestPrecedence compares the first route of a virtual host that matches a
// request with the one that the Gateway API's criteria leave, applied one
// after the other to all that match.
func TestPrecedence(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		attachments := randomAttachments(random)
		v := VirtualHost("table", "host", attachments)
		random.Shuffle(len(attachments), func(i, j int) { attachments[i], attachments[j] = attachments[j], attachments[i] })
		if again := VirtualHost("table", "host", attachments); !reflect.DeepEqual(v, again) {
			t.Fatalf("the order of attachments matters:\n%v\n%v", v, again)
		}
		if !slices.IsSortedFunc(v.Routes, func(a, b model.Route) int { return strings.Compare(a.Order(), b.Order()) }) {
			t.Fatalf("the routes' texts give another order: %v", v)
		}
		for i := range v.Routes {
			v.Routes[i].Origin.Created = time.Time{} // which is the attachment's
		}
		for range 20 {
			r := randomRequest(random)
			want := byCriteria(attachments, r)
			var got *model.Route
			for i := range v.Routes {
				if matchesRequest(v.Routes[i].Match, r) {
					got = &v.Routes[i]
					break
				}
			}
			if (got == nil) != (want == nil) || got != nil && got.Origin != want.Origin {
				t.Fatalf("%+v goes to\n%+v, want\n%+v", r, got, want)
			}
		}
	}
}

// byCriteria is the Gateway API's list, word for word.
func byCriteria(attachments []Attachment, r request) *model.Route {
	type match struct {
		*model.Route
		a *Attachment
	}
	var left []match
	for i := range attachments {
		a := &attachments[i]
		for j := range a.Rules {
			if matchesRequest(a.Rules[j].Match, r) {
				left = append(left, match{&a.Rules[j], a})
			}
		}
	}
	// keep leaves those with the greatest rank.
	keep := func(rank func(match) int) {
		var best []match
		for _, m := range left {
			switch {
			case len(best) == 0 || rank(m) > rank(best[0]):
				best = []match{m}
			case rank(m) == rank(best[0]):
				best = append(best, m)
			}
		}
		left = best
	}
	is := func(b bool) int { return map[bool]int{true: 1}[b] }
	keep(func(m match) int { return is(m.Match.Path.Kind == model.PathExact) })
	keep(func(m match) int { return is(m.Match.Path.Kind == model.PathRegex) })
	keep(func(m match) int { return len(m.Match.Path.Value) })
	keep(func(m match) int { return is(m.Match.Method != "") })
	keep(func(m match) int { return len(m.Match.Headers) })
	keep(func(m match) int { return len(m.Match.Query) })
	keep(func(m match) int { return -int(m.a.Created.Unix()) })
	keep(func(m match) int {
		rank := 0
		for _, other := range left {
			rank += is(m.a.Route.Name.String() < other.a.Route.Name.String())
		}
		return rank
	})
	keep(func(m match) int { return -m.Origin.Rule })
	keep(func(m match) int { return -m.Origin.Match })
	if len(left) == 0 {
		return nil
	}
	return left[0].Route
}

func matchesRequest(m model.Match, r request) bool {
	switch v := m.Path.Value; m.Path.Kind {
	case model.PathExact:
		if r.path != v {
			return false
		}
	case model.PathPrefix:
		if v != "/" && r.path != v && !strings.HasPrefix(r.path, v+"/") {
			return false
		}
	case model.PathRegex: // of this test: ".*" at the end
		if !strings.HasPrefix(r.path, strings.TrimSuffix(v, ".*")) {
			return false
		}
	}
	for _, h := range m.Headers {
		if r.headers[h.Name] != h.Value {
			return false
		}
	}
	for _, q := range m.Query {
		if r.query[q.Name] != q.Value {
			return false
		}
	}
	return m.Method == "" || m.Method == r.method
}

func randomAttachments(random *rand.Rand) []Attachment {
	var out []Attachment
	for _, name := range []string{"a/a", "a-b/c", "a/b", "a.b/c"} {
		namespace, name, _ := strings.Cut(name, "/")
		a := Attachment{Route: model.Ref{Kind: "HTTPRoute", Name: model.Name{Namespace: namespace, Name: name}}}
		a.Created = time.Unix(int64(random.IntN(2)), 0)
		for rule := range random.IntN(4) {
			for match := range 1 + random.IntN(3) {
				a.Rules = append(a.Rules, model.Route{
					Origin: model.Origin{Object: a.Route, Rule: rule, Match: match},
					Match:  randomMatch(random),
				})
			}
		}
		out = append(out, a)
	}
	return out
}

var testPaths = []string{"/", "/a", "/a/b", "/a/b/c"}

func randomMatch(random *rand.Rand) model.Match {
	m := model.Match{Path: model.PathMatch{Value: testPaths[random.IntN(len(testPaths))]}}
	switch random.IntN(4) {
	case 0:
		m.Path.Kind = model.PathExact
	case 1:
		m.Path.Kind = model.PathRegex
		m.Path.Value += ".*"
	}
	if random.IntN(3) == 0 {
		m.Method = "GET"
	}
	for i := range random.IntN(3) {
		m.Headers = append(m.Headers, model.ValueMatch{Name: fmt.Sprint("h", i), Value: "1"})
	}
	for i := range random.IntN(3) {
		m.Query = append(m.Query, model.ValueMatch{Name: fmt.Sprint("q", i), Value: "1"})
	}
	return m
}

func randomRequest(random *rand.Rand) request {
	r := request{
		path:    testPaths[random.IntN(len(testPaths))],
		method:  []string{"GET", "POST"}[random.IntN(2)],
		headers: map[string]string{}, query: map[string]string{},
	}
	for i := range random.IntN(3) {
		r.headers[fmt.Sprint("h", i)] = "1"
	}
	for i := range random.IntN(3) {
		r.query[fmt.Sprint("q", i)] = "1"
	}
	return r
}

func TestMisdirectedHostHasNoRoutes(t *testing.T) {
	v := VirtualHost("table", "a.example.com", []Attachment{
		{Rules: []model.Route{{Respond: &model.Respond{Status: 500}}}}, {Misdirected: true},
	})
	if want := (model.VirtualHost{Table: "table", Host: "a.example.com", Misdirected: true}); !reflect.DeepEqual(v, want) {
		t.Errorf("%+v", v)
	}
}
