package envoyconfig

import (
	"slices"
	"strings"

	"github.com/waggle-mesh/waggle/internal/model"
)

// uses are which resources of an object refer to which others of it.
type uses map[model.ResourceKey][]model.ResourceKey

// add notes that from refers to what is meant by to.
func (u uses) add(from, to model.ResourceKey) {
	if !slices.Contains(u[from], to) {
		u[from] = append(u[from], to)
	}
}

// cycle is a way from a resource back to itself that goes by none twice; nil:
// there is none. done are those from which none was found.
func (u uses) cycle(at model.ResourceKey, way []model.ResourceKey, done map[model.ResourceKey]bool) []model.ResourceKey {
	if i := slices.Index(way, at); i >= 0 {
		return append(slices.Clone(way[i:]), at)
	}
	if done[at] {
		return nil
	}
	for _, to := range u[at] {
		if found := u.cycle(to, append(way, at), done); found != nil {
			return found
		}
	}
	done[at] = true
	return nil
}

// cycles says what leads to itself: an internal listener by its cluster, an
// aggregate of clusters by itself. Envoy would follow it without an end.
func (p *parser) cycles() {
	done := map[model.ResourceKey]bool{}
	for _, r := range p.resources {
		found := p.names.uses.cycle(r.key(), nil, done)
		if found == nil {
			continue
		}
		var way []string
		for _, k := range found {
			way = append(way, clip(shortType(k.Type)+" "+k.Name))
			done[k] = true
		}
		p.broken(p.names.defined[found[0].Type][found[0].Name], "", "leads to itself: "+strings.Join(way, " → "))
	}
}
