package render_test

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/waggle-mesh/waggle/internal/golden"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
)

// inOrder gives a host's routes ranks, as the stage before does.
func inOrder(v model.VirtualHost) model.VirtualHost {
	for i := range v.Routes {
		v.Routes[i].Rank = uint64(i)
	}
	return v
}

// stored are the parts of a host by their suffixes.
func stored(v model.VirtualHost) map[string]render.Stored {
	out := map[string]render.Stored{}
	for _, p := range render.HostParts(v) {
		out[p.Suffix] = p.Stored()
	}
	return out
}

// read is a resource as an agent reads it.
func read(t *testing.T, text []byte) model.Resource {
	t.Helper()
	var message anypb.Any
	if err := protojson.Unmarshal(text, &message); err != nil {
		t.Fatal(err)
	}
	return model.Resource{ResourceKey: model.ResourceKey{Type: model.ResourceType(strings.TrimPrefix(message.TypeUrl, "type.googleapis.com/"))}, Body: message.Value}
}

// fragments are what agents make of parts, in any order.
func fragments(t *testing.T, table string, parts map[string]render.Stored) (out []render.Fragment) {
	t.Helper()
	for suffix, p := range parts {
		all, err := render.FragmentsOf(model.RouteFragment{Table: table, Part: "part" + suffix, Body: read(t, p.Resources[0]).Body})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, all...)
	}
	return out
}

// same compares what Envoy gets of a host, in tables of both kinds.
func same(t *testing.T, a, b render.Host) {
	t.Helper()
	for _, resources := range [][2][]model.Resource{
		{{render.RouteConfiguration(a.Table, []render.Host{a})}, {render.RouteConfiguration(b.Table, []render.Host{b})}},
		{render.ScopedWildcards(a.Table, []render.Host{a}), render.ScopedWildcards(b.Table, []render.Host{b})},
	} {
		for i := range resources[0] {
			if x, y := resources[0][i], resources[1][i]; x.Name != y.Name || !bytes.Equal(x.Body, y.Body) {
				t.Errorf("%s %s differs:\n%s\nfrom parts:\n%s", x.Type, x.Name, show(t, x), show(t, y))
			}
		}
	}
}

// TestPartsOfGoldens: what comes of the parts of a host is what comes of the
// host itself, and their clusters are those of its backends.
func TestPartsOfGoldens(t *testing.T) {
	hosts := 0
	for _, c := range golden.Cases(t, "testdata/*.txtar") {
		kind := c.Sections()[0]
		if kind != "virtualhost.yaml" && kind != "scoped.yaml" {
			continue
		}
		hosts++
		v := inOrder(decode[model.VirtualHost](t, c.Section(kind)))
		parts := stored(v)
		same(t, render.VirtualHost(v), render.HostOf(fragments(t, v.Table, parts)))
		for _, p := range parts {
			clusters(t, p)
		}
	}
	if hosts < 10 {
		t.Errorf("%d hosts among the goldens: the test looks at nothing", hosts)
	}
}

// clusters demands that a part has the clusters of its backends.
func clusters(t *testing.T, p render.Stored) {
	t.Helper()
	for i, b := range p.Backends {
		if !bytes.Equal(read(t, p.Resources[i+1]).Body, render.Cluster(b).Body) {
			t.Errorf("the cluster of %v is %s", b, p.Resources[i+1])
		}
	}
	if len(p.Resources) != 1+len(p.Backends) {
		t.Errorf("%d resources for %d backends", len(p.Resources), len(p.Backends))
	}
}

// largeHost is a host with many routes of many objects, in order.
func largeHost(random *rand.Rand, routes int) model.VirtualHost {
	v := model.VirtualHost{Table: "ns|web|80|", Host: "*.example.com"}
	for i := range routes {
		object := model.Ref{Kind: "HTTPRoute", Name: model.Name{Namespace: "shop", Name: fmt.Sprintf("r%d", random.IntN(routes/3+1))}}
		r := model.Route{
			Origin:  model.Origin{Object: object, Rule: i / 8, Match: i},
			Match:   model.Match{Path: model.PathMatch{Kind: model.PathMatchKind(i % 2), Value: fmt.Sprintf("/path/%d", i)}},
			Forward: &model.Forward{Backends: []model.WeightedBackend{{Backend: model.Backend{Service: model.Name{Namespace: "shop", Name: fmt.Sprintf("s%d", i%7)}, Port: 80}, Weight: 1}}},
		}
		if i%5 == 0 {
			r.Match.Headers = []model.ValueMatch{{Name: "host", Value: "a.example.com"}}
		}
		v.Routes = append(v.Routes, r)
	}
	return inOrder(v)
}

// TestParts: a large host is cut into parts of a size that suits the API
// server, and put together again.
func TestParts(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, routes := range []int{0, 1, 20, 200, 1000} {
		v := largeHost(random, routes)
		parts := stored(v)
		same(t, render.VirtualHost(v), render.HostOf(fragments(t, v.Table, parts)))
		sum := 0
		for suffix, p := range parts {
			size := 0
			for _, r := range p.Resources {
				size += len(r)
			}
			if sum += size; size > 20<<10 {
				t.Errorf("%d routes: part %q has %d bytes", routes, suffix, size)
			}
		}
		if routes == 1000 {
			t.Logf("%d routes: %d parts of %d bytes on average", routes, len(parts), sum/len(parts))
		}
	}
}

// TestPartsOfAnEdit: an edit of one route changes one part, whatever it does
// to the order of all; a route that comes or goes at most cuts or joins one.
func TestPartsOfAnEdit(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		v := largeHost(random, 300)
		before := stored(v)
		at := random.IntN(len(v.Routes))
		v.Routes = slices.Clone(v.Routes)
		v.Routes[at].Match.Path.Value = "/x" + v.Routes[at].Match.Path.Value[2:]
		v.Routes[at].Rank = 0
		slices.SortStableFunc(v.Routes, func(a, b model.Route) int { return cmp.Compare(a.Rank, b.Rank) })
		if changed := differences(before, stored(v)); len(changed) != 1 {
			t.Errorf("an edit changes %d parts: %v", len(changed), changed)
		}
		v.Routes = slices.Delete(v.Routes, at, at+1)
		if changed := differences(before, stored(v)); len(changed) > 4 {
			t.Errorf("a deletion changes %d parts: %v", len(changed), changed)
		}
	}
}

func differences(a, b map[string]render.Stored) (out []string) {
	all := maps.Clone(a)
	maps.Copy(all, b)
	for suffix := range all {
		if !slices.EqualFunc(a[suffix].Resources, b[suffix].Resources, bytes.Equal) {
			out = append(out, suffix)
		}
	}
	return out
}

// TestPartsWhileBeingCut: as long as old parts of a host are there beside new
// ones, each route is there once.
func TestPartsWhileBeingCut(t *testing.T) {
	v := largeHost(rand.New(rand.NewPCG(5, 6)), 200)
	whole := v
	whole.Routes = v.Routes[:8]
	old := stored(whole)
	if len(old) != 1 {
		t.Fatalf("%d parts of eight routes", len(old))
	}
	mixed := stored(v)
	maps.Copy(mixed, old)
	same(t, render.VirtualHost(v), render.HostOf(fragments(t, v.Table, mixed)))
}

// TestMisdirectedHosts: hosts that stand in one part are what each is by itself.
func TestMisdirectedHosts(t *testing.T) {
	names := []string{"*", "a.example.com", "*.example.com"}
	parts := map[string]render.Stored{"": {Resources: [][]byte{render.StoredMisdirected("ns|web|443|b", names)}}}
	all := fragments(t, "ns|web|443|b", parts)
	if len(all) != len(names) {
		t.Fatalf("%d hosts of %d", len(all), len(names))
	}
	for i, f := range all {
		same(t, render.VirtualHost(model.VirtualHost{Table: f.Table, Host: names[i], Misdirected: true}), render.HostOf([]render.Fragment{f}))
	}
}

// TestWholeListener: a listener whose chains were stored apart is the listener.
func TestWholeListener(t *testing.T) {
	gw := model.Name{Namespace: "ns", Name: "web"}
	whole := model.Listener{Gateway: gw, Port: 443, BindPort: 443, Protocol: model.HTTPS}
	for _, host := range []string{"", "*.example.com", "a.example.com", "b.example.com"} {
		whole.Chains = append(whole.Chains, model.Chain{Hostname: host, Certificates: []model.Name{gw}, Table: model.TableKey(gw, 443, host)})
	}
	share := func(chains ...int) model.Resource {
		l := whole
		l.Chains = nil
		for _, i := range chains {
			l.Chains = append(l.Chains, whole.Chains[i])
		}
		r := read(t, render.StoredListener(l, model.Clients{}))
		r.Name = whole.Key()
		return r
	}
	want := share(0, 1, 2, 3)
	for _, shares := range [][]model.Resource{
		{share(2, 3), share(0, 1)}, {share(1, 3), share(2), share(0)},
		{want, share(2)}, // while they are being cut
	} {
		if got := render.WholeListener(shares); !bytes.Equal(got.Body, want.Body) || got.Name != want.Name {
			t.Errorf("of %d shares comes:\n%s\nwant:\n%s", len(shares), show(t, got), show(t, want))
		}
	}
}
