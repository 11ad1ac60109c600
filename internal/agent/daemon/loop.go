package daemon

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/reconcile"
)

// loops are the reconcile.Loops of an agent.
type loops struct {
	all      []looped
	outcomes *prometheus.CounterVec
	failing  *prometheus.GaugeVec
}

// looped is one Loop, whatever its rows.
type looped struct {
	name   string
	synced func()
	run    func(context.Context)
	passed <-chan struct{}
	failed map[string]string // by row, what the world says; the graph's owner's
}

func newLoops() *loops {
	return &loops{outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "waggle_reconcile_total", Help: "Tries to make the world like a row, by output and outcome.",
	}, []string{"output", "outcome"}), failing: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "waggle_reconcile_failing", Help: "Rows that the world is not like, for it refuses them; `waggle status` names them.",
	}, []string{"output"})}
}

// begin lets the Outputs change the world, one after the other for the first
// time: what comes later refers to what was written before.
func (l *loops) begin(ctx context.Context) {
	go func() {
		for _, loop := range l.all {
			loop.synced()
			select {
			case <-loop.passed:
			case <-ctx.Done():
				return
			}
		}
	}()
}

// add ties a table to an Output. The graph's owner calls outcome, if it is not
// nil, after each try.
func add[T flow.Row, R any](a *node, name string, table *flow.Table[T], output reconcile.Output[T, R], outcome func(reconcile.Outcome[R])) *reconcile.Loop[T, R] {
	failed := map[string]string{}
	loop := reconcile.New(output, a.log.With("output", name), func(o reconcile.Outcome[R]) {
		word := "success"
		if o.Err != nil {
			word = "failure"
		}
		a.loops.outcomes.WithLabelValues(name, word).Inc()
		a.tell(func() {
			if delete(failed, o.RowKey); o.Err != nil {
				failed[o.RowKey] = o.Err.Error()
			}
			a.loops.failing.WithLabelValues(name).Set(float64(len(failed)))
			if outcome != nil {
				outcome(o)
			}
		})
	})
	table.OnChange(loop.Changed)
	a.loops.all = append(a.loops.all, looped{name, loop.Synced, loop.Run, loop.Passed(), failed})
	return loop
}
