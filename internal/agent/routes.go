package agent

import (
	"strings"

	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
)

// size is the number of hosts in a route table.
type size struct {
	table string
	hosts int
}

func (s size) Key() string { return s.table }

// tableUse is a route table that a listener uses.
type tableUse struct {
	listener string
	table    string
}

// Key is unique per listener and table.
func (u tableUse) Key() string { return model.Join(u.listener, u.table) }

// routes renders the route tables. What a table holds is read only where it
// is served as a whole: in a scoped table, an edit touches its own host.
func (a *Graph) routes(g *flow.Graph, used *flow.Table[tableUse]) {
	byTable := flow.NewIndex(a.hosts, func(h render.Host) []string { return []string{h.Table} })
	wildcards := flow.NewIndex(a.hosts, func(h render.Host) []string {
		if isWildcard(h) {
			return []string{h.Table}
		}
		return nil
	})
	uses := flow.NewIndex(used, func(u tableUse) []string { return []string{u.table} })
	tables := flow.Keys(g, "tables", uses) // also those without hosts
	a.sizes = flow.Derive(g, "table sizes", tables, equal[size],
		func(r *flow.Reader, k flow.KeyRow) []size {
			return []size{{k.Key(), flow.Count(r, byTable, k.Key())}}
		})
	a.sizes.OnChange(func(changes []flow.Change[size]) { a.resized = append(a.resized, changes...) })
	a.publish(flow.Derive(g, "route tables", tables, model.Resource.Equal,
		func(r *flow.Reader, k flow.KeyRow) []model.Resource {
			if a.isScoped(r, k.Key()) {
				return render.ScopedWildcards(k.Key(), flow.Select(r, wildcards, k.Key()))
			}
			return []model.Resource{render.RouteConfiguration(k.Key(), flow.Select(r, byTable, k.Key()))}
		}))
	a.scopes(g)
}

// scopes renders the exact hosts of scoped tables, each by itself.
func (a *Graph) scopes(g *flow.Graph) {
	a.publish(flow.Derive(g, "scoped hosts", a.hosts, model.Resource.Equal,
		func(r *flow.Reader, h render.Host) []model.Resource {
			if isWildcard(h) || !a.isScoped(r, h.Table) {
				return nil
			}
			return render.ScopedHost(h)
		}))
}

func (a *Graph) isScoped(r *flow.Reader, table string) bool {
	_, ok := flow.Get(r, a.scoped, table)
	return ok
}

func isWildcard(h render.Host) bool { return strings.HasPrefix(h.Name, "*") }

func equal[T comparable](a, b T) bool { return a == b }
