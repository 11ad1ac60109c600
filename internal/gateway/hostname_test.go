package gateway

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/gateway/field"
	"github.com/waggle-mesh/waggle/internal/model"
)

// TestListenerOfHost compares the listener that takes a host with the API's
// definition: an exact hostname, else the wildcard with the most dots, else
// none. What Covers tells is held against the API in package field.
func TestListenerOfHost(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var p Parent
		names := map[string]bool{}
		for range 1 + random.IntN(6) {
			h := randomHostname(random)
			if !names[h] {
				names[h] = true
				p.Listeners = append(p.Listeners, ParentListener{Name: fmt.Sprintf("%q", h), Hostname: h, Port: 80, Served: true})
			}
		}
		for _, host := range []string{"a", "b.a", "c.b.a", "d.c.b.a", "b.b.a"} {
			want := -1
			best := ""
			for _, l := range p.Listeners {
				rank := strings.Count(l.Hostname, ".")
				switch {
				case !field.Covers(l.Hostname, host):
					continue
				case l.Hostname == "":
					rank = 0
				case !strings.HasPrefix(l.Hostname, "*"):
					rank = 1000
				}
				if rank > want {
					want, best = rank, l.Name
				}
			}
			if got, ok := p.listener(80, host); ok != (want >= 0) || got.Name != best {
				t.Fatalf("%s of %v goes to %s, want %s", host, names, got.Name, best)
			}
		}
	}
}

func randomHostname(random *rand.Rand) string {
	labels := []string{"a", "b.a", "c.b.a", "b.b.a"}
	switch h := labels[random.IntN(len(labels))]; random.IntN(5) {
	case 0:
		return ""
	case 1, 2:
		return "*." + h
	default:
		return h
	}
}

// TestTablesAreDistinct: no two ports and no two chains share a route table.
func TestTablesAreDistinct(t *testing.T) {
	gw := model.Name{Namespace: "default", Name: "gw"}
	seen := map[string]string{}
	for _, port := range []uint16{80, 443, 4430} {
		for _, host := range []string{"", "a.example.com", "*.example.com"} {
			for _, protocol := range []model.Protocol{model.HTTP, model.HTTPS} {
				if protocol == model.HTTP && host != "" {
					continue // all listeners of the port share one
				}
				table := ParentListener{Port: port, Hostname: host, Protocol: protocol}.table(gw)
				what := fmt.Sprint(port, host, protocol)
				if before, ok := seen[table]; ok {
					t.Errorf("%s and %s share %s", before, what, table)
				}
				seen[table] = what
			}
		}
	}
}
