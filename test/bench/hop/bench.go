// Package hop measures what a request costs that passes through Envoy as
// Waggle configures it, beside a hand-written Envoy with the same settings,
// Envoy with its default connection manager, nginx and HAProxy.
//
// The measure is the CPU time of the proxy per request. All have one worker,
// the same load and the same backend, and take turns of a few milliseconds,
// so that what happens on the machine meanwhile happens to all.
package hop

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/waggle-mesh/waggle/test/bench/measure"
)

// Options say how much is measured.
type Options struct {
	measure.Series
	Binaries measure.Binaries
	Many     int      // hosts, and path rules of one host
	Turns    int      // of all proxies in one round, two slices each
	Shapes   []string // names of Shapes; empty: all
}

// tools are the programs that must be installed, and their Debian packages.
var tools = map[string]string{"nginx": "nginx-light", "haproxy": "haproxy"}

// of tells rounds that may be counted together.
func (o Options) of() string { return fmt.Sprintf("hop %d %d %s", o.Many, o.Turns, o.Slice) }

// Measure measures everything and writes it to the page.
func Measure(ctx context.Context, o Options, page *measure.Page) error {
	if err := measure.Installed(tools); err != nil {
		return err
	}
	if o.Rounds < 1 || o.Many < 1 || o.Turns < 1 || o.Slice < 10*time.Millisecond {
		return fmt.Errorf("too little to measure: at least a round of a turn of 10 ms")
	}
	record, err := measure.OpenRecord(o.Append, o.of())
	if err != nil {
		return err
	}
	all := shapes(o.Many)
	chosen := slices.DeleteFunc(slices.Clone(all), func(s shape) bool {
		return len(o.Shapes) > 0 && !slices.Contains(o.Shapes, s.short)
	})
	if err := addRounds(ctx, o, chosen, record); err != nil {
		return err
	}
	page.Section("How")
	page.Textf("CPU is that of the proxy's threads, as the kernel's scheduler counts it, per request answered: %d keep-alive connections, each of which asks again when it has its answer. "+
		"Every round starts its proxies anew and gives each %d turns of two slices of %s of load, in random order and then in the reverse; its cost is the median of the turns. "+
		"Rounds in which others use more than %.0f %% of the machine are dropped; nginx and HAProxy are in every %dth round. "+
		"The proxy has one core for itself; the load and the backend (nginx, answering from memory) have the other. "+
		"Every proxy has one worker, keeps its connections to the backend, and adds a request id and X-Forwarded-For. Several hosts or paths are asked in turn. "+
		"Ratios are geometric means over the rounds, with the 95 %% interval of Student's distribution; a target counts as met if the interval's upper end does. "+
		"The configurations are in test/bench/static.", connections, o.Turns, o.Slice, 100*o.Quiet, besideEvery)
	for _, s := range all {
		if len(s.rounds(record)) > 1 {
			report(page, s, record)
		}
	}
	return nil
}

// addRounds makes rounds of the shapes in turn, so that what changes meanwhile
// does so for all, and the record can be left off at any time.
func addRounds(ctx context.Context, o Options, chosen []shape, record *measure.Record) error {
	began := time.Now()
	for n := 0; n < o.Rounds && (o.For == 0 || time.Since(began) < o.For); n++ {
		for _, s := range chosen {
			for range s.often {
				if err := addRound(ctx, o, s, record); err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
			}
		}
		o.Progress("round %d of %d", n+1, o.Rounds)
	}
	return nil
}

// addRound makes a round of a shape, again if others used too much of the
// machine, but not for ever.
func addRound(ctx context.Context, o Options, s shape, record *measure.Record) error {
	const attempts = 3
	for attempt := 1; ; attempt++ {
		round, err := s.round(ctx, o, o.of(), len(s.rounds(record))%besideEvery == 0)
		if err != nil {
			return err
		}
		if round.Others <= o.Quiet {
			return record.Add(round)
		}
		o.Progress("%s: round dropped, others used %.0f %% of the machine", s.name, 100*round.Others)
		if attempt == attempts {
			return nil
		}
	}
}

// report writes a shape's figures.
func report(page *measure.Page, s shape, r *measure.Record) {
	page.Add(target(s.name+", against "+same, s.ratio(r, ours, same), 1.02))
	if slices.ContainsFunc(s.proxies, func(k kind) bool { return k.h2 }) {
		page.Add(
			target(s.name+", against "+defaults+" over HTTP/1.1", s.ratio(r, ours, defaults), 0.82),
			target(s.name+", against "+oursOverH1, s.ratio(r, ours, oursOverH1), 0.82))
	} else {
		page.Add(target(s.name+", against "+defaults, s.ratio(r, ours, defaults), 1.06))
	}
	page.Section(s.name)
	var others measure.Figures
	rounds := s.rounds(r)
	for _, round := range rounds {
		others = append(others, round.Others)
	}
	page.Textf("%d rounds, in which others used %.1f %% of the machine (median). Medians [smallest–largest].", len(rounds), 100*others.Median())
	var rows [][]string
	for _, k := range s.proxies {
		cost := r.Figures(s.figure(k.name, cpuFigure))
		if len(cost) == 0 {
			continue
		}
		comparison := s.ratio(r, ours, k.name)
		ratio := comparison.String()
		if k.name == ours {
			ratio = "1"
		} else if comparison.Rounds < 2 {
			ratio = "-"
		}
		rows = append(rows, []string{k.name, k.file, fmt.Sprint(len(cost)), cost.Range() + " µs", ratio,
			fmt.Sprintf("%.0f", r.Figures(s.figure(k.name, rateFigure)).Median())})
	}
	page.Table([]string{"proxy", "file", "rounds", "CPU per request", "Waggle's in comparison", "requests/s"}, rows)
}

func target(what string, r measure.Ratio, limit float64) measure.Target {
	return measure.Target{What: what, Want: fmt.Sprintf("≤ %.2f", limit), Measured: r.String(), Met: r.High <= limit}
}
