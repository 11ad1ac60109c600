package daemon

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/operator"
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
	stage stage         // the graph's owner's
	// after is a group of which this one's rows say what came of it; nil: none.
	after  *group
	passed chan struct{} // closed at the last stage
}

// stage is how far a group has come, in this order. It stays so when the process
// is cut off from the lead and leads again.
type stage int

const (
	waits  stage = iota // for what its Loops need
	reads               // all of it has been read
	tried               // every row has been tried once, and the tables have what came of it
	passed              // what follows from that is committed
)

// afterPatience is for how long a group waits for the one that it is after,
// which may wait itself for what cannot be read.
const afterPatience = time.Minute

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
func (l *loops) group(name string, needs ...reader) *group {
	g := &group{name: name, needs: needs, ready: make(chan struct{}), passed: make(chan struct{})}
	l.groups = append(l.groups, g)
	return g
}

// all are the Loops of all groups.
func (l *loops) all() (out []looped) {
	for _, g := range l.groups {
		out = append(out, g.loops...)
	}
	return out
}

// check finds the groups whose needs have been read, and those that have been
// tried. The graph's owner calls it after a commit.
func (l *loops) check() {
	for _, g := range l.groups {
		switch {
		case g.stage == tried:
			g.stage = passed
			close(g.passed)
		case g.stage == waits && !slices.ContainsFunc(g.needs, func(r reader) bool { return !r.Read() }):
			g.stage = reads
			close(g.ready)
		}
	}
}

// begin lets the Outputs of a group write, one after the other for the first
// time: what comes later refers to what was written before, or speaks of it.
func (p *process) begin(ctx context.Context, g *group) {
	select {
	case <-g.ready:
	case <-ctx.Done():
		return
	}
	if g.after != nil {
		select {
		case <-g.after.passed:
		case <-time.After(afterPatience):
		case <-ctx.Done():
			return
		}
	}
	for _, loop := range g.loops {
		loop.synced()
		select {
		case <-loop.passed:
		case <-ctx.Done():
			return
		}
	}
	p.tell(func() { g.stage = max(g.stage, tried) })
}

// add ties a table to an Output, in the newest group. The graph's owner hands
// to note what came of rows.
func add[T flow.Row, R any](
	p *process, name string, table *flow.Table[T], output reconcile.Output[T, R], note ...func(reconcile.Outcome[R]),
) *reconcile.Loop[T, R] {
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
			for _, f := range note {
				f(o)
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
	note ...func(reconcile.Outcome[R]),
) *reconcile.Loop[T, R] {
	loop := add(p, name, table, output, note...)
	kube.Keep(source, table, loop, key)
	return loop
}

// addMade is addKept for the objects that are made for a Gateway or a Secret,
// which about names: who has it is told of those that the API server refuses.
func addMade[T flow.Row, O kube.Object](
	p *process, name string, table *flow.Table[T], kind kube.Kind[O], source *kube.Source[O], writer *kube.Writer[T, O], about func(T) model.Ref,
) *reconcile.Loop[T, struct{}] {
	loop := addKept(p, name, table, writer, source, model.Name.String, func(o reconcile.Outcome[struct{}]) {
		object := model.Ref{Kind: kind.Name(), Name: model.NameFrom(o.RowKey)}
		row, wanted := table.Get(o.RowKey)
		if o.Err == nil || !wanted {
			p.in.Refusals.Delete(object.Key())
		} else if why := kube.Refusal(o.Err); why != "" { // else what it said last holds
			p.in.Refusals.Set(operator.Refusal{Object: object, For: about(row), Why: why})
		}
	})
	loop.Fair(func(row T) reconcile.Turn { return turnOf(about(row).Namespace) })
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
