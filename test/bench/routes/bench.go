// Package routes measures what `waggle run` does with many routes: how long
// it takes to start, how long one edit takes and what it costs, how much
// memory there is to a route, and whether clients notice any of it.
//
// Everything is measured on real processes: the waggle and the Envoy that a
// user runs, on files that a user could have written.
package routes

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/waggle-mesh/waggle/test/bench/measure"
)

// Options say how much is measured.
type Options struct {
	Binaries measure.Binaries
	Routes   int // the most
	Edits    int
	Starts   int // repetitions of a start
	Flips    int
	Parts    []string // of Parts; empty: all
	Append   string   // file of parts: those in it are on the page too; empty: none
	Progress func(format string, args ...any)
}

type bench struct {
	binaries measure.Binaries
	backends []*backend
	routes   int
	flips    int
	o        Options
	page     *measure.Page // of the part that is measured
}

// Measure measures everything and writes it to the page.
func Measure(ctx context.Context, o Options, page *measure.Page) error {
	if o.Routes < cpuBatch || o.Edits < cpuBatch || o.Starts < 1 || o.Flips < 4 {
		return fmt.Errorf("too little to measure: at least %d routes, %d edits, a start and 4 flips", cpuBatch, cpuBatch)
	}
	found, err := measure.OpenParts(o.Append)
	if err != nil {
		return err
	}
	backends, closeBackends, err := newBackends("north", "east", "south", "west")
	if err != nil {
		return err
	}
	defer closeBackends()
	b := &bench{binaries: o.Binaries, backends: backends, routes: o.Routes, flips: o.Flips, o: o}
	parts := map[string]func(context.Context) error{"start": b.starts, "edit": b.edits, "memory": b.memory, "change": b.changes}
	for _, name := range o.Parts {
		if parts[name] == nil {
			return fmt.Errorf("no part %q; there are %v", name, Parts)
		}
	}
	for _, name := range Parts {
		if len(o.Parts) > 0 && !slices.Contains(o.Parts, name) {
			continue
		}
		b.page = &measure.Page{Began: time.Now()}
		if err := parts[name](ctx); err != nil {
			return err
		}
		if err := found.Put(name, page.Machine.Waggle, b.page); err != nil {
			return err
		}
	}
	found.Fill(page, Parts)
	return nil
}

// Parts are what can be measured by itself, in the order of the page.
var Parts = []string{"start", "edit", "memory", "change"}

// starts reports how long it takes until all routes answer.
func (b *bench) starts(ctx context.Context) error {
	b.page.Section("Start")
	b.page.Textf("From the start of the process until the last of %d routes has answered 200; each route has its own host, Service and EndpointSlice. CPU is that of the waggle process. Median of %d starts [smallest–largest].",
		b.routes, b.o.Starts)
	var rows [][]string
	for _, l := range []layout{objectPerFile, fewFiles} {
		var seconds, cpu measure.Figures
		for range b.o.Starts {
			s, c, err := b.measureStart(ctx, l)
			if err != nil {
				return fmt.Errorf("start, %s: %w", l, err)
			}
			b.o.Progress("start, %s: %.2f s", l, s)
			seconds, cpu = append(seconds, s), append(cpu, c)
		}
		b.page.Add(measure.Target{
			What: fmt.Sprintf("%d routes, %s: start to all answering, worst of %d", b.routes, l, b.o.Starts),
			Want: "≤ 10 s", Measured: fmt.Sprintf("%.1f s", seconds.Max()), Met: seconds.Max() <= 10,
		})
		rows = append(rows, []string{string(l), seconds.Range() + " s", cpu.Range() + " s"})
	}
	b.page.Table([]string{"manifests", "start to all answering", "waggle CPU"}, rows)
	return nil
}

// edits reports single edits in tables of different sizes.
func (b *bench) edits(ctx context.Context) error {
	b.page.Section("Edits")
	b.page.Textf("One route gets another path, %d times, each time another route. Latency is from just before the file is written to the first 200 by the new path, asked every %s, with the old path asked in between, all on one connection. "+
		"An answer counts as strange if it is neither what the route said before nor what it says now. CPU per edit is the mean, and the median over batches of %d edits [smallest–largest], above what the process takes at rest (per second, over %s). It is with all that follows an edit; the garbage collector runs once in some hundred edits, so it is in the mean and not in the median.",
		b.o.Edits, pollEvery, cpuBatch, restFor)
	var rows [][]string
	var small, large *edits
	few := max(b.routes/50, cpuBatch)
	for _, n := range []int{few, max(b.routes/5, cpuBatch), b.routes} {
		e, err := b.editSeries(ctx, n, nil)
		if err != nil {
			return fmt.Errorf("edits among %d routes: %w", n, err)
		}
		rows = append(rows, e.row(fmt.Sprint(n)))
		if small == nil {
			small = e
		}
		large = e
	}
	wild, err := b.editSeries(ctx, b.routes, func(w *world) error { return w.addWildcards(b.backends[0]) })
	if err != nil {
		return fmt.Errorf("edits beside wildcards: %w", err)
	}
	rows = append(rows, wild.row(fmt.Sprintf("%d, with wildcards and a catch-all", b.routes)))
	b.page.Table([]string{"routes", "mean", "median", "99 %", "max", "strange", "waggle CPU per edit", "waggle at rest", "Envoy CPU per edit with its polls"}, rows)
	for what, e := range map[string]*edits{"": large, ", wildcard and catch-all hosts on the listener": wild} {
		if e.strange > 0 {
			b.page.Textf("Strange%s: %s.", what, e.example)
		}
	}
	b.page.Add(large.targets(fmt.Sprintf("one route edited among %d", b.routes))...)
	b.page.Add(wild.targets("the same with wildcard and catch-all hosts")...)
	b.page.Add(measure.Target{
		What: fmt.Sprintf("waggle CPU per edit among %d routes, mean", b.routes),
		Want: "≤ 2 ms", Measured: fmt.Sprintf("%.2f ms", large.cpu.Mean()), Met: large.cpu.Mean() <= 2,
	}, measure.Target{
		What: fmt.Sprintf("the same from %d to %d routes", few, b.routes),
		Want: "flat (≤ 1.5 ×)", Measured: fmt.Sprintf("%.2f × (%.2f to %.2f ms)", large.cpu.Mean()/small.cpu.Mean(), small.cpu.Mean(), large.cpu.Mean()),
		Met: large.cpu.Mean() <= 1.5*small.cpu.Mean(),
	})
	return nil
}

func (b *bench) editSeries(ctx context.Context, routes int, change func(*world) error) (*edits, error) {
	r, err := b.serve(ctx, routes, objectPerFile, change)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	if err := r.allAnswer(ctx); err != nil {
		return nil, err
	}
	if err := r.waggle.Settled(ctx); err != nil {
		return nil, err
	}
	if err := r.waggle.Rest(ctx); err != nil {
		return nil, err
	}
	e, err := r.measureEdits(ctx, r.waggle, min(b.o.Edits, routes))
	if err == nil {
		b.o.Progress("edits among %d routes: mean %.1f ms, max %.1f ms, %.2f ms CPU", routes, e.latencies.Mean(), e.latencies.Max(), e.cpu.Mean())
	}
	return e, err
}

func (e *edits) row(name string) []string {
	ms := func(x float64) string { return fmt.Sprintf("%.1f ms", x) }
	return []string{name, ms(e.latencies.Mean()), ms(e.latencies.Median()), ms(e.latencies.Quantile(0.99)), ms(e.latencies.Max()),
		fmt.Sprintf("%d of %d", e.strange, e.asked),
		fmt.Sprintf("%.2f ms; %.2f ms [%.2f–%.2f]", e.cpu.Mean(), e.cpu.Median(), e.cpu.Quantile(0), e.cpu.Max()),
		ms(e.idle), ms(e.envoy)}
}

func (e *edits) targets(what string) []measure.Target {
	return []measure.Target{
		{What: what + ": mean of " + fmt.Sprint(len(e.latencies)), Want: "≤ 15 ms", Measured: fmt.Sprintf("%.1f ms", e.latencies.Mean()), Met: e.latencies.Mean() <= 15},
		{What: what + ": longest", Want: "≤ 100 ms", Measured: fmt.Sprintf("%.1f ms", e.latencies.Max()), Met: e.latencies.Max() <= 100},
		{What: what + ": answers neither old nor new", Want: "0", Measured: fmt.Sprintf("%d of %d", e.strange, e.asked), Met: e.strange == 0},
	}
}

// changes reports what clients saw of changes.
func (b *bench) changes(ctx context.Context) error {
	all, err := b.measureChanges(ctx)
	if err != nil {
		return fmt.Errorf("changes under load: %w", err)
	}
	b.page.Section("Changes under load")
	b.page.Textf("Closed-loop clients: 4 with one connection each, 2 with a new connection per request, the same by TLS. They ask a route that flips, and one whose rules are reordered. " +
		"Failed is every error, every status but 200, every answer of a backend that the route did not name, every mixture of two versions, and every connection that ended without notice.")
	var rows [][]string
	for _, c := range all {
		b.o.Progress("%s: %d of %d failed", c.name, c.Failed, c.Requests)
		rows = append(rows, []string{c.name, fmt.Sprint(c.times), fmt.Sprint(c.every), fmt.Sprint(c.Requests), fmt.Sprint(c.Connected), fmt.Sprint(c.Failed)})
		b.page.Add(measure.Target{
			What: fmt.Sprintf("%s, %d times: failed requests", c.name, c.times),
			Want: "0", Measured: fmt.Sprintf("%d of %d", c.Failed, c.Requests), Met: c.Failed == 0,
		})
	}
	b.page.Table([]string{"change", "times", "every", "requests", "connections", "failed"}, rows)
	for _, c := range all {
		if c.Failed > 0 {
			b.page.Textf("%s: %s.", c.name, c.Example)
		}
	}
	return nil
}
