package daemon

import (
	"context"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/reconcile"
)

// loops are the reconcile.Loops of an operator.
type loops struct {
	groups   []*group
	outcomes *prometheus.CounterVec
}

// group is Loops that begin together, when what they need has been read. What
// cannot be read holds up those alone that need it.
type group struct {
	name  string
	needs []reader
	loops []looped
	ready chan struct{} // closed when all needs have been read
	done  bool          // it is closed; the graph's owner's
}

// reader is a feed: a kube.Source.
type reader interface{ Read() bool }

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

// group begins a new one: what is added from here on is part of it.
func (l *loops) group(name string, needs ...reader) {
	l.groups = append(l.groups, &group{name: name, needs: needs, ready: make(chan struct{})})
}

// all are the Loops of all groups.
func (l *loops) all() (out []looped) {
	for _, g := range l.groups {
		out = append(out, g.loops...)
	}
	return out
}

// check finds the groups whose needs have been read. The graph's owner calls
// it after a commit.
func (l *loops) check() {
	for _, g := range l.groups {
		if !g.done && !slices.ContainsFunc(g.needs, func(r reader) bool { return !r.Read() }) {
			g.done = true
			close(g.ready)
		}
	}
}

// begin lets the Outputs of a group write, one after the other for the first
// time: what comes later refers to what was written before, or speaks of it.
func (g *group) begin(ctx context.Context) {
	select {
	case <-g.ready:
	case <-ctx.Done():
		return
	}
	for _, loop := range g.loops {
		loop.synced()
		select {
		case <-loop.passed:
		case <-ctx.Done():
			return
		}
	}
}

// add ties a table to an Output, in the newest group.
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
	g := p.loops.groups[len(p.loops.groups)-1]
	g.loops = append(g.loops, looped{name, loop.Synced, loop.Run, loop.Passed(), failed})
	return loop
}

// addKept is add for rows whose objects source reads: what somebody else does
// to an object is put right. key is the row's, by the object's name.
func addKept[T flow.Row, R any, O kube.Object](
	p *process, name string, table *flow.Table[T], output reconcile.Output[T, R], source *kube.Source[O], key func(model.Name) string,
) *reconcile.Loop[T, R] {
	loop := add(p, name, table, output)
	kube.Keep(source, table, loop, key)
	return loop
}

// addStatus is addKept for the statuses of users' objects.
func addStatus[T flow.Row, O kube.Object](p *process, name string, table *flow.Table[T], kind kube.Kind[O], source *kube.Source[O], fill func(T, O)) *reconcile.Loop[T, struct{}] {
	return addKept(p, name, table, statusWriter(p, source, fill, nil), source, statusKey(kind))
}

// statusKey is the key of a row that says something of an object of a kind.
func statusKey[O kube.Object](kind kube.Kind[O]) func(model.Name) string {
	return func(object model.Name) string { return model.Ref{Kind: kind.Name(), Name: object}.Key() }
}
