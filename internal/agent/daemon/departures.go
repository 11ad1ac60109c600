package daemon

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/waggle-mesh/waggle/internal/agent/proxy"
	"github.com/waggle-mesh/waggle/internal/model"
)

// departures are what Envoy has and nobody wants any more. Resources stay as
// long as a listener goes that connections may still be led to, for it needs its
// routes; but a listener of which the maps cannot let go keeps nobody else's.
type departures struct {
	listeners map[string]time.Time // that connections may be led to; since when nobody wants them
	resources map[string]model.ResourceKey
	told      map[string]bool // listeners that went from Envoy all the same
}

func newDepartures() *departures {
	return &departures{listeners: map[string]time.Time{}, resources: map[string]model.ResourceKey{}, told: map[string]bool{}}
}

// begin says that nobody wants a listener; it may be said again.
func (d *departures) begin(listener string, now time.Time) {
	if _, ok := d.listeners[listener]; !ok {
		d.listeners[listener] = now
	}
}

// end says that no connection is led to a listener, or that it is wanted again.
func (d *departures) end(listener string) {
	delete(d.listeners, listener)
	delete(d.told, listener)
}

// changed takes note of resources that are there and of those that are not any
// more.
func (d *departures) changed(there []model.Resource, removed []model.ResourceKey) {
	for _, r := range there {
		delete(d.resources, r.Key())
	}
	for _, key := range removed {
		d.resources[key.Key()] = key
	}
}

// leave are the resources that Envoy is to be told of now, in order; late are
// listeners among them to which connections may be led all the same, named once.
func (d *departures) leave(now time.Time) (gone []model.ResourceKey, late []string) {
	for _, since := range d.listeners {
		if now.Sub(since) < proxy.Limit {
			return nil, nil
		}
	}
	for listener := range d.listeners {
		if !d.told[listener] {
			d.told[listener] = true
			late = append(late, listener)
		}
	}
	slices.Sort(late)
	gone = slices.SortedFunc(maps.Values(d.resources), func(a, b model.ResourceKey) int { return strings.Compare(a.Key(), b.Key()) })
	clear(d.resources)
	return gone, late
}

// wait is how long it takes until what is held back may leave; 0: nothing is.
func (d *departures) wait(now time.Time) (wait time.Duration) {
	if len(d.resources) == 0 {
		return 0
	}
	for _, since := range d.listeners {
		wait = max(wait, proxy.Limit-now.Sub(since))
	}
	return wait
}
