package daemon

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/reconcile"
)

// loops are the reconcile.Loops of an operator.
type loops struct {
	all      []looped
	outcomes *prometheus.CounterVec
}

// looped is one Loop, whatever its rows.
type looped struct {
	name   string
	synced func()
	run    func(context.Context)
	passed <-chan struct{}
	failed map[string]string // by row, what the API server says; the graph's owner's
}

func newLoops() *loops {
	return &loops{outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "waggle_reconcile_total", Help: "Tries to make the cluster like a row, by output and outcome.",
	}, []string{"output", "outcome"})}
}

// begin lets the Outputs write, one after the other for the first time: what
// comes later refers to what was written before, or speaks of it.
func (l *loops) begin(ctx context.Context) {
	for _, loop := range l.all {
		loop.synced()
		select {
		case <-loop.passed:
		case <-ctx.Done():
			return
		}
	}
}

// add ties a table to an Output.
func add[T flow.Row, R any](p *process, name string, table *flow.Table[T], output reconcile.Output[T, R]) *reconcile.Loop[T, R] {
	failed := map[string]string{}
	loop := reconcile.New(output, p.log.With("output", name), func(o reconcile.Outcome[R]) {
		word := "success"
		if o.Err != nil {
			word = "failure"
		}
		p.loops.outcomes.WithLabelValues(name, word).Inc()
		p.tell(func() {
			if delete(failed, o.RowKey); o.Err != nil {
				failed[o.RowKey] = o.Err.Error()
			}
		})
	})
	table.OnChange(loop.Changed)
	p.loops.all = append(p.loops.all, looped{name, loop.Synced, loop.Run, loop.Passed(), failed})
	return loop
}
