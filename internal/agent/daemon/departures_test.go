package daemon

import (
	"slices"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/agent/proxy"
	"github.com/waggle-mesh/waggle/internal/model"
)

// TestDepartures: a listener that the maps do not let go of holds resources back
// for a while and not for ever.
func TestDepartures(t *testing.T) {
	d, begun := newDepartures(), time.Now()
	cluster := func(name string) model.ResourceKey { return model.ResourceKey{Type: model.Cluster, Name: name} }
	leaves := func(after time.Duration, late []string, want ...model.ResourceKey) {
		t.Helper()
		got, said := d.leave(begun.Add(after))
		if !slices.Equal(got, want) || !slices.Equal(said, late) {
			t.Errorf("after %v: %v leave in spite of %v; want %v and %v", after, got, said, want, late)
		}
	}
	d.changed(nil, []model.ResourceKey{cluster("b"), cluster("a")})
	leaves(0, nil, cluster("a"), cluster("b")) // no listener goes

	d.begin("stuck", begun)
	d.begin("quick", begun)
	d.changed(nil, []model.ResourceKey{cluster("a"), cluster("b")})
	leaves(time.Second, nil)
	d.end("quick")
	d.begin("stuck", begun.Add(time.Second)) // said again
	d.changed([]model.Resource{{ResourceKey: cluster("b")}}, nil)
	if got := d.wait(begun.Add(time.Second)); got != proxy.Limit-time.Second {
		t.Errorf("waits for %v", got)
	}
	leaves(time.Second, nil)
	leaves(proxy.Limit, []string{"stuck"}, cluster("a"))
	if got := d.wait(begun.Add(proxy.Limit)); got != 0 {
		t.Errorf("waits for %v, though nothing is held back", got)
	}

	d.begin("another", begun.Add(proxy.Limit))
	d.changed(nil, []model.ResourceKey{cluster("c")})
	leaves(proxy.Limit+time.Second, nil) // it has its time, too
	d.end("another")
	leaves(proxy.Limit+2*time.Second, nil, cluster("c"))
}
