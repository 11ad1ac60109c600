package routes

import (
	"context"
	"fmt"
	"time"

	"github.com/waggle-mesh/waggle/test/bench/measure"
	"github.com/waggle-mesh/waggle/test/bench/request"
)

// edits is what a series of edits of single routes came to.
type edits struct {
	latencies measure.Figures // file written to first answer by the new path, ms
	strange   int             // answers that are neither the old nor the new
	example   string          // of a strange one
	asked     int
	cpu       measure.Figures // of the waggle process per edit, above what it takes at rest, ms
	envoy     float64         // CPU of Envoy per edit, polls included, ms
	idle      float64         // CPU of the waggle process per second without edits, ms
}

const (
	pollEvery = 2 * time.Millisecond
	// editEvery leaves what follows an edit, such as the acknowledgement,
	// its time, so that every edit stands for itself.
	editEvery = 60 * time.Millisecond
	// restFor is how long a waggle at rest is watched. It looks at all files
	// from time to time, of many files every 10 s or so.
	restFor = 30 * time.Second
	// cpuBatch is how many edits one figure of CPU is taken over.
	cpuBatch = 10
)

// edit edits n different routes one after the other.
func (w *world) measureEdits(ctx context.Context, waggle *measure.Waggle, n int) (*edits, error) {
	e := &edits{}
	var err error
	if e.idle, err = idle(waggle, restFor); err != nil {
		return nil, err
	}
	c := &request.Client{Address: w.address()}
	defer c.Close()
	envoyBefore, err := measure.CPU(waggle.EnvoyPID)
	if err != nil {
		return nil, err
	}
	before, err := measure.CPU(waggle.PID())
	if err != nil {
		return nil, err
	}
	began := time.Now()
	for k := range n {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		next := time.Now().Add(editEvery)
		// 37 is prime, so no route comes twice.
		if err := w.followEdit(c, e, k*37%w.routes, fmt.Sprintf("/edit-%d", k)); err != nil {
			return nil, err
		}
		time.Sleep(time.Until(next))
		if (k+1)%cpuBatch == 0 {
			now, err := measure.CPU(waggle.PID())
			if err != nil {
				return nil, err
			}
			rest := e.idle * time.Since(began).Seconds()
			e.cpu = append(e.cpu, (float64(now-before)/float64(time.Millisecond)-rest)/cpuBatch)
			before, began = now, time.Now()
		}
	}
	envoyAfter, err := measure.CPU(waggle.EnvoyPID)
	if err != nil {
		return nil, err
	}
	e.envoy = float64(envoyAfter-envoyBefore) / float64(time.Millisecond) / float64(n)
	return e, nil
}

// followEdit gives the i-th route another path and polls until it answers
// there, by one connection, which stays with one of Envoy's threads.
func (w *world) followEdit(c *request.Client, e *edits, i int, path string) error {
	host := w.object(i).Host
	want := w.backend(i).name
	ticks := time.NewTicker(pollEvery)
	defer ticks.Stop()
	began := time.Now()
	if err := w.edit(i, path); err != nil {
		return err
	}
	for time.Since(began) < request.Patience {
		changed, err := c.Get(host, path)
		e.asked++
		switch {
		case err != nil:
			e.odd("%s%s: %v", host, path, err)
		case changed.Status == 200 && changed.Backend == want:
			e.latencies = append(e.latencies, float64(time.Since(began))/float64(time.Millisecond))
			return nil
		case changed.Status != 404 || changed.Backend != "":
			e.odd("%s%s: %d of %q", host, path, changed.Status, changed.Backend)
		}
		before, err := c.Get(host, firstPath)
		e.asked++
		switch {
		case err != nil:
			e.odd("%s%s: %v", host, firstPath, err)
		case before.Status == 200 && before.Backend == want, before.Status == 404 && before.Backend == "":
		default:
			e.odd("%s%s: %d of %q", host, firstPath, before.Status, before.Backend)
		}
		<-ticks.C
	}
	return fmt.Errorf("edit of %s: no answer at %s after %s", host, path, request.Patience)
}

func (e *edits) odd(format string, args ...any) {
	if e.strange++; e.example == "" {
		e.example = fmt.Sprintf(format, args...)
	}
}

// idle is the CPU that waggle takes when nothing changes, in ms per second.
func idle(waggle *measure.Waggle, d time.Duration) (float64, error) {
	before, err := measure.CPU(waggle.PID())
	if err != nil {
		return 0, err
	}
	time.Sleep(d)
	after, err := measure.CPU(waggle.PID())
	return float64(after-before) / float64(time.Millisecond) / d.Seconds(), err
}
