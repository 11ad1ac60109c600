package xds

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/waggle-mesh/waggle/internal/model"
)

// removeListeners removes listeners and scoped routes that are gone, and lets
// clusters that are gone begin to leave.
func (st *stream) removeListeners(now time.Time) {
	for _, t := range []model.ResourceType{model.EnvoyListener, model.ScopedRoute} {
		if sub := st.types[t]; sub != nil {
			names := sub.takeGone(st.target[t])
			st.remove(sub, names)
			st.freed = st.freed || len(names) > 0
		}
	}
	if sub := st.types[model.Cluster]; sub != nil {
		for _, name := range sub.takeGone(st.target[model.Cluster]) {
			if _, ok := st.leaving[name]; !ok {
				st.leaving[name] = now.Add(grace)
			}
		}
	}
}

// takeGone returns what is gone and has not come back, sorted, and forgets it.
// Where a whole collection is gone, nobody is to look into it any more: Envoy
// lets go of it when the last connection that does has ended.
func (sub *subscription) takeGone(target map[string]*resource) []string {
	var names []string
	maps.Copy(sub.gone, sub.kept)
	clear(sub.kept)
	live := map[string]bool{}
	for name := range sub.gone {
		collection, collected := collectionOf(name)
		if _, known := live[collection]; collected && !known {
			live[collection] = sub.wildcard || hasAny(target, collection)
		}
		switch {
		case target[name] != nil || sub.held[name] == nil:
		case collected && !live[collection]:
			sub.kept[name] = struct{}{}
		default:
			names = append(names, name)
		}
	}
	clear(sub.gone)
	slices.Sort(names)
	return names
}

func (st *stream) remove(sub *subscription, names []string) {
	if len(names) == 0 {
		return
	}
	items := make(map[string]*resource, len(names))
	for _, name := range names {
		items[name] = nil
	}
	st.send(sub.typ, items, names)
}

// removeClusters removes the clusters whose time to leave has come.
func (st *stream) removeClusters(now time.Time) {
	var names []string
	for name, at := range st.leaving {
		switch {
		case st.target[model.Cluster][name] != nil:
			delete(st.leaving, name) // it came back
		case now.Before(at):
		case st.inUse(name):
			st.leaving[name] = now.Add(grace)
		default:
			delete(st.leaving, name)
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if sub := st.types[model.Cluster]; sub != nil {
		st.aside(func() { st.remove(sub, names) })
	}
}

// inUse tells whether Envoy may use a version of a resource that names the
// cluster, because it has not acknowledged the newer one.
func (st *stream) inUse(cluster string) bool {
	for _, t := range []model.ResourceType{model.RouteConfiguration, model.EnvoyListener, model.ExtensionConfig} {
		sub := st.types[t]
		if sub == nil {
			continue
		}
		for name, h := range sub.held {
			want := st.target[t][name]
			if want == nil || h.good == nil || h.good.hash == want.hash {
				continue
			}
			if h.good.body == nil || bytes.Contains(h.good.body.Value, []byte(cluster)) {
				return true
			}
		}
	}
	return false
}
