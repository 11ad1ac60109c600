package render_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
)

func manyHosts(n int) []render.Host {
	hosts := make([]render.Host, n)
	for i := range hosts {
		object := model.Ref{Kind: "HTTPRoute", Name: model.Name{Namespace: "default", Name: fmt.Sprintf("route-%d", i)}}
		backend := model.Backend{Service: model.Name{Namespace: "default", Name: fmt.Sprintf("service-%d", i)}, Port: 80}
		hosts[i] = render.VirtualHost(model.VirtualHost{
			Table: "default|gw|80|", Host: fmt.Sprintf("host-%d.example.com", i),
			Routes: []model.Route{{
				Origin: model.Origin{Object: object}, Match: all,
				Forward: &model.Forward{Backends: []model.WeightedBackend{{Backend: backend, Weight: 1}}},
			}},
		})
	}
	return hosts
}

func TestTablesAreTheSameInAnyOrder(t *testing.T) {
	hosts := manyHosts(50)
	want := render.RouteConfiguration("default|gw|80|", hosts)
	validate(t, want)
	if n := len(message(t, want).(*routev3.RouteConfiguration).VirtualHosts); n != 50 {
		t.Errorf("%d of 50 hosts", n)
	}
	rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	before := slices.Clone(hosts)
	got := render.RouteConfiguration("default|gw|80|", hosts)
	if string(got.Body) != string(want.Body) || !slices.Equal(got.Owners, want.Owners) {
		t.Error("another order of hosts gives another table")
	}
	if !slices.EqualFunc(hosts, before, render.Host.Equal) {
		t.Error("the caller's hosts were sorted")
	}
}

// BenchmarkEdit is what one edited host costs in a table of 300.
func BenchmarkEdit(b *testing.B) {
	hosts := manyHosts(render.ScopedAbove)
	b.ReportAllocs()
	for b.Loop() {
		hosts[7] = manyHosts(1)[0]
		render.RouteConfiguration("default|gw|80|", hosts)
	}
}

func TestNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	gateways := []model.Name{{Namespace: "a", Name: "b"}, {Namespace: "a", Name: "b.c"}, {Namespace: "a-b", Name: "c"}}
	for _, gateway := range gateways {
		for _, hostname := range []string{"", "*", "a.example.com", "*.example.com"} {
			table := model.TableKey(gateway, 80, hostname)
			resources := render.ScopedWildcards(table, nil)
			for _, name := range []string{"any", "a.example.com", "80"} {
				h := render.VirtualHost(model.VirtualHost{Table: table, Host: name})
				resources = append(resources, render.ScopedHost(h)...)
			}
			for _, r := range resources {
				validate(t, r)
				if seen[r.Key()] {
					t.Errorf("two resources are %s", r.Key())
				}
				seen[r.Key()] = true
			}
		}
	}
}
