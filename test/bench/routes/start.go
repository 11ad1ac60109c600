package routes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/waggle-mesh/waggle/test/bench/measure"
	"github.com/waggle-mesh/waggle/test/bench/request"
)

// running is a world that is served.
type running struct {
	*world
	waggle *measure.Waggle
	dir    string
}

// serve writes a world of routes and starts waggle on it. Change may add to
// the world before; nil: nothing.
func (b *bench) serve(ctx context.Context, routes int, l layout, change func(*world) error, flags ...string) (*running, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	r := &running{dir: dir}
	if err := b.start(ctx, r, routes, l, change, flags); err != nil {
		r.stop()
		return nil, err
	}
	return r, nil
}

func (b *bench) start(ctx context.Context, r *running, routes int, l layout, change func(*world) error, flags []string) error {
	manifests := r.dir + "/manifests"
	if err := os.Mkdir(manifests, 0o755); err != nil {
		return err
	}
	w, err := newWorld(manifests, routes, l, b.backends)
	if err != nil {
		return err
	}
	if change != nil {
		if err := change(w); err != nil {
			return err
		}
	}
	r.world = w
	r.waggle, err = b.binaries.Run(r.dir, manifests, flags...)
	return err
}

func (r *running) stop() {
	if r.waggle != nil {
		r.waggle.Stop()
	}
	os.RemoveAll(r.dir)
}

// allAnswer waits until every route answers: first one, then all of them.
func (r *running) allAnswer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	sample := &request.Client{Address: r.address()}
	defer sample.Close()
	err := r.waggle.Until(ctx, measure.Often, "a route answered", func() error { return r.answers(sample, r.routes/2) })
	if err != nil {
		return err
	}
	const clients = 4
	var wg sync.WaitGroup
	failed := make([]error, clients)
	for k := range clients {
		wg.Go(func() {
			c := &request.Client{Address: r.address()}
			defer c.Close()
			for i := k; i < r.routes && failed[k] == nil; i += clients {
				failed[k] = r.waggle.Until(ctx, measure.Often, fmt.Sprintf("route %d answered", i), func() error { return r.answers(c, i) })
			}
		})
	}
	wg.Wait()
	return errors.Join(failed...)
}

// answers asks the i-th route.
func (r *running) answers(c *request.Client, i int) error {
	a, err := c.Get(r.object(i).Host, firstPath)
	if err != nil {
		return err
	}
	if a.Status != 200 || a.Backend != r.backend(i).name {
		return fmt.Errorf("%s: %d of %q", r.object(i).Host, a.Status, a.Backend)
	}
	return nil
}

// measureStart is the time from the start of the process to the answer of
// the last route, in seconds, and the CPU that waggle took.
func (b *bench) measureStart(ctx context.Context, l layout) (seconds, cpu float64, err error) {
	r, err := b.serve(ctx, b.routes, l, nil)
	if err != nil {
		return 0, 0, err
	}
	defer r.stop()
	if err := r.allAnswer(ctx); err != nil {
		return 0, 0, err
	}
	took := time.Since(r.waggle.Began)
	used, err := measure.CPU(r.waggle.PID())
	return took.Seconds(), used.Seconds(), err
}
