package daemon

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/datapath/kernel"
	"github.com/waggle-mesh/waggle/internal/model"
)

// awaitPlace waits until the node has ranges for its pods, and addresses of
// their families. A machine that cannot be a node is refused before anything
// is changed on it.
func (a *node) awaitPlace(ctx context.Context) error {
	if err := kernel.Check(a.options.BPFFS, cmp.Or(a.options.Cgroup, hostCgroup())); err != nil {
		return err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for told := ""; ; {
		waiting := "for the API server to tell of node " + a.options.Node
		if self, ok := a.sources.nodes.Newest(model.Name{Name: a.options.Node}); ok {
			a.self = self
			if a.place, waiting = agent.PlaceOf(self, a.options.Families); waiting == "" {
				return nil
			}
		}
		if waiting != told {
			a.log.Info("waiting " + waiting)
			a.enter(Phase{Waiting: waiting})
			told = waiting
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// A change of the node's place must last before it is believed: kubelet and
// the cloud provider may not agree at once.
const (
	placeLooks   = time.Second
	placeSettles = 3 * time.Second
)

// keepPlace gives an error when the node's ranges or addresses have become
// others: programs, maps, devices and addresses stand on them, so the agent
// must begin anew. An object that is gone or lacks them changes nothing.
func (a *node) keepPlace(ctx context.Context) error {
	tick := time.NewTicker(placeLooks)
	defer tick.Stop()
	var since time.Time
	var last agent.Place
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		self, ok := a.sources.nodes.Newest(model.Name{Name: a.options.Node})
		if !ok {
			continue
		}
		now, awaited := agent.PlaceOf(self, a.options.Families)
		switch {
		case awaited != "" || now.Equal(a.place):
			since = time.Time{}
		case since.IsZero() || !now.Equal(last):
			since, last = time.Now(), now
			a.log.Warn("the node's object has changed", "was", a.place, "is", now)
		case time.Since(since) >= placeSettles:
			return fmt.Errorf("node %s has now %s, the agent began with %s: it must begin anew", a.options.Node, now, a.place)
		}
	}
}
