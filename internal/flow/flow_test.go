package flow

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// The tests' world is a small mesh: routes name services and hosts, services
// have endpoints, and hosts gather the routes that name them.
type (
	service  struct{ name, port string }
	endpoint struct {
		name, service, address string
		ready                  bool
	}
	route struct {
		name            string
		hosts, services []string
	}
	cluster struct {
		service, port string
		addresses     []string
	}
	share struct {
		host, route string
		clusters    []string
		missing     int
	}
	host struct {
		name   string
		shares []share
	}
	size struct {
		host   string
		routes int
	}
)

func (r service) Key() string  { return r.name }
func (r endpoint) Key() string { return r.name }
func (r route) Key() string    { return r.name }
func (r cluster) Key() string  { return r.service }
func (r share) Key() string    { return r.host + "|" + r.route }
func (r host) Key() string     { return r.name }
func (r size) Key() string     { return r.host }

func deep[T any](a, b T) bool { return reflect.DeepEqual(a, b) }

type world struct {
	graph       Graph
	services    *Table[service]
	endpoints   *Table[endpoint]
	routes      *Table[route]
	clusters    *Table[cluster]
	shares      *Table[share]
	hosts       *Table[host]
	sizes       *Table[size]
	evaluations map[string]int
}

func newWorld() *world {
	w := &world{evaluations: map[string]int{}}
	g := &w.graph
	w.services = NewTable(g, "services", deep[service])
	w.endpoints = NewTable(g, "endpoints", deep[endpoint])
	w.routes = NewTable(g, "routes", deep[route])
	byService := NewIndex(w.endpoints, func(e endpoint) []string { return []string{e.service} })
	w.clusters = Derive(g, "clusters", w.services, deep[cluster], func(r *Reader, s service) []cluster {
		w.evaluations["clusters"]++
		c := cluster{service: s.name, port: s.port}
		for _, e := range Select(r, byService, s.name) {
			if e.ready {
				c.addresses = append(c.addresses, e.address)
			}
		}
		return []cluster{c}
	})
	w.shares = Derive(g, "shares", w.routes, deep[share], func(r *Reader, in route) []share {
		w.evaluations["shares"]++
		var out []share
		for _, h := range in.hosts {
			s := share{host: h, route: in.name}
			for _, name := range in.services {
				if c, ok := Get(r, w.clusters, name); ok {
					s.clusters = append(s.clusters, c.service+":"+c.port)
				} else {
					s.missing++
				}
			}
			out = append(out, s)
		}
		return out
	})
	byHost := NewIndex(w.shares, func(s share) []string { return []string{s.host} })
	names := Keys(g, "host names", byHost)
	w.hosts = Derive(g, "hosts", names, deep[host], func(r *Reader, k KeyRow) []host {
		w.evaluations["hosts"]++
		return []host{{string(k), Select(r, byHost, string(k))}}
	})
	w.sizes = Derive(g, "sizes", names, deep[size], func(r *Reader, k KeyRow) []size {
		w.evaluations["sizes"]++
		return []size{{string(k), Count(r, byHost, string(k))}}
	})
	return w
}

// edit makes one random change.
func (w *world) edit(r *rand.Rand) {
	n := func(k int) string { return fmt.Sprint(r.Intn(k)) }
	switch r.Intn(7) {
	case 0:
		w.services.Set(service{"s" + n(10), n(3)})
	case 1:
		w.services.Delete("s" + n(10))
	case 2, 3:
		w.endpoints.Set(endpoint{"e" + n(30), "s" + n(10), n(5), r.Intn(2) == 0})
	case 4:
		w.endpoints.Delete("e" + n(30))
	case 5:
		hosts := slices.Compact(slices.Sorted(slices.Values([]string{"h" + n(4), "h" + n(4)})))
		w.routes.Set(route{"r" + n(20), hosts, []string{"s" + n(10), "s" + n(10)}})
	case 6:
		w.routes.Delete("r" + n(20))
	}
}

func (w *world) state() string {
	var b bytes.Buffer
	w.graph.Dump(&b)
	return b.String()
}

func commit(t *testing.T, g *Graph) {
	t.Helper()
	if err := g.Commit(); err != nil {
		t.Fatal(err)
	}
}

// TestIncrementalEqualsFull: whatever the order of edits, the derived tables
// equal those computed from scratch from the same inputs.
func TestIncrementalEqualsFull(t *testing.T) {
	for seed := range int64(200) {
		r := rand.New(rand.NewSource(seed))
		w := newWorld()
		for range 300 {
			w.edit(r)
			if r.Intn(4) == 0 {
				commit(t, &w.graph)
			}
		}
		commit(t, &w.graph)
		full := newWorld()
		for _, row := range w.routes.All() {
			full.routes.Set(row)
		}
		for _, row := range w.endpoints.All() {
			full.endpoints.Set(row)
		}
		for _, row := range w.services.All() {
			full.services.Set(row)
		}
		commit(t, &full.graph)
		if got, want := w.state(), full.state(); got != want {
			t.Fatalf("seed %d: incremental\n%s\nfrom scratch\n%s", seed, got, want)
		}
	}
}

// TestSinkSeesEveryChange: applying the reported changes to a copy keeps the
// copy equal to the table.
func TestSinkSeesEveryChange(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	w := newWorld()
	copied := map[string]host{}
	w.hosts.OnChange(func(changes []Change[host]) {
		for _, c := range changes {
			if old, had := copied[c.Key]; had != c.HadOld || had && !deep(old, c.Old) {
				t.Fatalf("change of %s says it was %v %+v, it was %v %+v", c.Key, c.HadOld, c.Old, had, old)
			}
			if c.HadOld && c.HasNew && deep(c.Old, c.New) {
				t.Fatalf("%s was reported and has not changed", c.Key)
			}
			if delete(copied, c.Key); c.HasNew {
				copied[c.Key] = c.New
			}
		}
	})
	for range 2000 {
		w.edit(r)
		commit(t, &w.graph)
		want := map[string]host{}
		for _, h := range w.hosts.All() {
			want[h.name] = h
		}
		if !maps.EqualFunc(copied, want, deep[host]) {
			t.Fatalf("sink has %v, table has %v", copied, want)
		}
	}
}

// TestChangeCostsWhatItTouches: an edit evaluates the functions that read
// what changed and no others.
func TestChangeCostsWhatItTouches(t *testing.T) {
	w := newWorld()
	for i := range 1000 {
		w.services.Set(service{fmt.Sprint("s", i), "1"})
		w.routes.Set(route{fmt.Sprint("r", i), []string{fmt.Sprint("h", i%100)}, []string{fmt.Sprint("s", i)}})
	}
	commit(t, &w.graph)
	for _, test := range []struct {
		name string
		edit func()
		want map[string]int
	}{
		{"equal row", func() { w.services.Set(service{"s7", "1"}) }, map[string]int{}},
		{"change and back", func() { w.routes.Delete("r7"); w.routes.Set(route{"r7", []string{"h7"}, []string{"s7"}}) }, map[string]int{"shares": 1}},
		{"endpoint that is not ready", func() { w.endpoints.Set(endpoint{"e", "s7", "a", false}) }, map[string]int{"clusters": 1}},
		{"service", func() { w.services.Set(service{"s7", "2"}) }, map[string]int{"clusters": 1, "shares": 1, "hosts": 1}},
		{"route to another service", func() { w.routes.Set(route{"r7", []string{"h7"}, []string{"s8"}}) }, map[string]int{"shares": 1, "hosts": 1}},
		{"route to another host", func() { w.routes.Set(route{"r7", []string{"h8"}, []string{"s8"}}) }, map[string]int{"shares": 1, "hosts": 2, "sizes": 2}},
	} {
		w.evaluations = map[string]int{}
		test.edit()
		commit(t, &w.graph)
		if !maps.Equal(w.evaluations, test.want) {
			t.Errorf("%s: evaluated %v, want %v", test.name, w.evaluations, test.want)
		}
	}
}

// TestNothingIsKept: when all inputs are gone, nothing of them is left.
func TestNothingIsKept(t *testing.T) {
	r := rand.New(rand.NewSource(2))
	w := newWorld()
	for range 500 {
		w.edit(r)
	}
	commit(t, &w.graph)
	for _, row := range w.routes.All() {
		w.routes.Delete(row.name)
	}
	for _, row := range w.services.All() {
		w.services.Delete(row.name)
	}
	for _, row := range w.endpoints.All() {
		w.endpoints.Delete(row.name)
	}
	commit(t, &w.graph)
	for _, s := range w.graph.Stats() {
		if s.Rows != 0 {
			t.Errorf("%s has %d rows left", s.Table, s.Rows)
		}
	}
	for _, rs := range []*readers{w.services.readers, w.clusters.readers, w.endpoints.indexes[0].readers, w.shares.indexes[0].readers, w.shares.indexes[0].counts} {
		if len(rs.of) != 0 {
			t.Errorf("readers left: %v", rs.of)
		}
	}
}

// TestTwoRowsOfOneKey: the first input's row holds, in any order of arrival,
// and takes its place back when the other goes.
func TestTwoRowsOfOneKey(t *testing.T) {
	type pair = [2]string
	for _, order := range [][]pair{{{"a", "x"}, {"b", "x"}}, {{"b", "x"}, {"a", "x"}}} {
		g := &Graph{}
		in := NewTable(g, "in", deep[service])
		out := Derive(g, "out", in, deep[cluster], func(_ *Reader, s service) []cluster {
			return []cluster{{service: s.port, port: s.name}}
		})
		var err error
		for _, p := range order {
			in.Set(service{p[0], p[1]})
			err = g.Commit()
		}
		if err == nil || !strings.Contains(err.Error(), `table out: two rows have the key "x"`) {
			t.Errorf("Commit says %v", err)
		}
		if row, _ := out.Get("x"); row.port != "a" {
			t.Errorf("the row is of %q, want a", row.port)
		}
		in.Delete("a")
		commit(t, g)
		if row, _ := out.Get("x"); row.port != "b" {
			t.Errorf("after a went the row is of %q, want b", row.port)
		}
	}
}

// TestRivals: over any history the first input that makes a key has its row,
// also where inputs make rows of their own and of each other's keys.
func TestRivals(t *testing.T) {
	names := []string{"a", "b", "c", "d"}
	random := rand.New(rand.NewSource(1))
	g := &Graph{}
	in := NewTable(g, "in", deep[route])
	out := Derive(g, "out", in, deep[cluster], func(_ *Reader, r route) (rows []cluster) {
		for _, key := range r.hosts {
			rows = append(rows, cluster{service: key, port: r.name})
		}
		return rows
	})
	claims := map[string][]string{}
	for step := range 20_000 {
		name := names[random.Intn(len(names))]
		delete(claims, name)
		in.Delete(name)
		if random.Intn(4) > 0 {
			claims[name] = slices.DeleteFunc(slices.Clone(names), func(string) bool { return random.Intn(2) == 0 })
			in.Set(route{name: name, hosts: claims[name]})
		}
		if random.Intn(2) == 0 {
			continue // several changes in one Commit
		}
		g.Commit() // it complains of the rivals
		for _, key := range names {
			want := ""
			for _, input := range names {
				if want == "" && slices.Contains(claims[input], key) {
					want = input
				}
			}
			if row, _ := out.Get(key); row.port != want {
				t.Fatalf("step %d: %s is of %q, want %q; %v", step, key, row.port, want, claims)
			}
		}
	}
}

// TestTwoRowsOfOneInput: a function that makes one key twice is found out.
func TestTwoRowsOfOneInput(t *testing.T) {
	g := &Graph{}
	in := NewTable(g, "in", deep[service])
	Derive(g, "out", in, deep[service], func(_ *Reader, s service) []service { return []service{s, s} })
	in.Set(service{"a", "1"})
	if err := g.Commit(); err == nil {
		t.Error("Commit did not complain")
	}
}

// TestReadingALaterTable panics, and names both tables.
func TestReadingALaterTable(t *testing.T) {
	g := &Graph{}
	in := NewTable(g, "in", deep[service])
	var later *Table[service]
	Derive(g, "early", in, deep[service], func(r *Reader, s service) []service {
		Get(r, later, "x")
		return nil
	})
	later = NewTable(g, "later", deep[service])
	in.Set(service{"a", "1"})
	defer func() {
		if p := fmt.Sprint(recover()); !strings.Contains(p, "table early reads table later") {
			t.Errorf("panic says %q", p)
		}
	}()
	g.Commit()
	t.Error("no panic")
}

// TestStats counts rows, evaluations and changes.
func TestStats(t *testing.T) {
	w := newWorld()
	w.services.Set(service{"s1", "1"})
	w.services.Set(service{"s1", "2"})
	commit(t, &w.graph)
	got := map[string]Stats{}
	for _, s := range w.graph.Stats() {
		got[s.Table] = s
	}
	if s := got["services"]; s.Rows != 1 || s.Changes != 2 {
		t.Errorf("services: %+v", s)
	}
	if s := got["making clusters"]; s.Evaluations != 1 {
		t.Errorf("making clusters: %+v", s)
	}
}

func BenchmarkEditOneRouteAmong(b *testing.B) {
	for _, n := range []int{100, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := newWorld()
			for i := range n {
				w.services.Set(service{fmt.Sprint("s", i), "1"})
				w.routes.Set(route{fmt.Sprint("r", i), []string{fmt.Sprint("h", i)}, []string{fmt.Sprint("s", i)}})
			}
			w.graph.Commit()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				w.routes.Set(route{"r7", []string{"h7"}, []string{fmt.Sprint("s", i%2)}})
				w.graph.Commit()
			}
		})
	}
}

// TestUnion has the rows of both parts, and says when they have one in common.
func TestUnion(t *testing.T) {
	g := &Graph{}
	a := NewTable(g, "a", deep[service])
	b := NewTable(g, "b", deep[service])
	u := Union(g, "u", deep[service], a, b)
	a.Set(service{"x", "1"})
	b.Set(service{"y", "2"})
	commit(t, g)
	if got, want := u.All(), []service{{"x", "1"}, {"y", "2"}}; !deep(got, want) {
		t.Errorf("rows %v, want %v", got, want)
	}
	b.Set(service{"x", "3"})
	if err := g.Commit(); err == nil || !strings.Contains(err.Error(), `table u: two rows have the key "x"`) {
		t.Errorf("Commit says %v", err)
	}
	if row, _ := u.Get("x"); row.port != "1" {
		t.Errorf("x is %v", row)
	}
	a.Delete("x")
	commit(t, g)
	if row, _ := u.Get("x"); row.port != "3" {
		t.Errorf("x is %v", row)
	}
	b.Delete("x")
	b.Delete("y")
	commit(t, g)
	if u.Len() != 0 {
		t.Errorf("rows left: %v", u.All())
	}
}

// TestFirst reads one row of a group, and runs again when another takes its
// place.
func TestFirst(t *testing.T) {
	g := &Graph{}
	in := NewTable(g, "in", deep[service])
	byPort := NewIndex(in, func(s service) []string { return []string{s.port} })
	first := Derive(g, "first", Keys(g, "ports", byPort), deep[service], func(r *Reader, port KeyRow) []service {
		s, ok := First(r, byPort, port.Key())
		if _, none := First(r, byPort, "no such port"); !ok || none {
			t.Errorf("First says %v for a group with rows, %v for one without", ok, none)
		}
		return []service{{name: port.Key(), port: s.name}}
	})
	in.Set(service{"b", "80"})
	in.Set(service{"c", "80"})
	commit(t, g)
	in.Set(service{"a", "80"})
	commit(t, g)
	if row, _ := first.Get("80"); row.port != "a" {
		t.Errorf("first is %q, want a", row.port)
	}
}

// TestTwoTablesOfOneName panics: names tell tables apart in dumps and metrics.
func TestTwoTablesOfOneName(t *testing.T) {
	g := &Graph{}
	NewTable(g, "t", deep[service])
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	NewTable(g, "t", deep[service])
}
