package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/reconcile"
)

// identityPatience is how long a pod's start waits for its identity. It starts
// as "init" then, and gets its own when there is one.
const identityPatience = 3 * time.Second

// endpointMap is the Output of PodEndpoints. Its result is the identity that
// the map has now.
type endpointMap struct {
	reconcile.Output[model.PodEndpoint, struct{}]
}

// Update is the Output's.
func (o endpointMap) Update(ctx context.Context, row model.PodEndpoint) (model.Identity, error) {
	_, err := o.Output.Update(ctx, row)
	return row.Identity, err
}

// waiter waits until the maps know of an endpoint, or know of it no more.
type waiter struct {
	gone bool // what is waited for
	done chan model.Identity
	err  error // of the last try
}

// attach makes an endpoint known: its programs, then its row in the maps.
func (a *node) attach(ctx context.Context, e *model.PodEndpoint) error {
	if err := a.datapath.AttachPod(e.Index); err != nil {
		return err
	}
	w := &waiter{done: make(chan model.Identity, 8)}
	link := *e
	link.Identity = 0
	if !a.turns.Take(ctx, func() { a.in.Links.Set(link); a.wait(e.Key(), w) }) {
		return ctx.Err()
	}
	defer a.leave(e.Key(), w)
	patience := time.After(identityPatience)
	for known, hurry := false, false; ; {
		select {
		case e.Identity = <-w.done:
			known = true
		case <-patience:
			hurry = true
		case <-ctx.Done():
			var last error
			a.turns.Take(a.life, func() { last = w.err })
			return fmt.Errorf("make endpoint %d known to the data path: %w", e.ID, errors.Join(ctx.Err(), last))
		}
		if known && (hurry || e.Identity != model.IdentityInit) {
			return nil
		}
	}
}

// detach undoes attach. The maps must have forgotten the endpoint before its
// address is another's.
func (a *node) detach(ctx context.Context, e model.PodEndpoint) error {
	w := &waiter{gone: true, done: make(chan model.Identity, 1)}
	was := false
	ok := a.turns.Take(ctx, func() {
		if _, was = a.in.Links.Get(e.Key()); was {
			a.in.Links.Delete(e.Key())
			a.wait(e.Key(), w)
		}
	})
	if !ok {
		return ctx.Err()
	}
	if was {
		defer a.leave(e.Key(), w)
		select {
		case <-w.done:
		case <-ctx.Done():
			return fmt.Errorf("remove endpoint %d from the data path: %w", e.ID, ctx.Err())
		}
	}
	return a.datapath.DetachPod(e.Index)
}

// attached tells what is wrong with an endpoint's programs.
func (a *node) attached(e model.PodEndpoint) error {
	pods, err := a.datapath.Pods()
	if err != nil {
		return err
	}
	if !slices.Contains(pods, e.Index) {
		return fmt.Errorf("no programs are attached to %s", e.Interface)
	}
	return nil
}

func (a *node) wait(key string, w *waiter) {
	a.waiters[key] = append(a.waiters[key], w)
}

// leave ends a wait.
func (a *node) leave(key string, w *waiter) {
	a.turns.Take(a.life, func() {
		var rest []*waiter
		for _, other := range a.waiters[key] {
			if other != w {
				rest = append(rest, other)
			}
		}
		if a.waiters[key] = rest; len(rest) == 0 {
			delete(a.waiters, key)
		}
	})
}

// endpointWritten is what the graph's owner does after each try to write an
// endpoint.
func (a *node) endpointWritten(o reconcile.Outcome[model.Identity]) {
	for _, w := range a.waiters[o.RowKey] {
		if w.err = o.Err; o.Err == nil && w.gone == o.Deleted {
			select {
			case w.done <- o.Result:
			default: // it has been told often enough
			}
		}
	}
}
