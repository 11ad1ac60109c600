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
	Binaries measure.Binaries
	Many     int           // hosts, and path rules of one host
	Rounds   int           // the proxies are started anew for each
	Turns    int           // of all proxies in one round, two slices each
	Slice    time.Duration // of load on one proxy
	Quiet    float64       // most of the machine that others may take in a round, 0 to 1
	Shapes   []string      // names of Shapes; empty: all
	Progress func(format string, args ...any)
}

// tools are the programs that must be installed, and their Debian packages.
var tools = map[string]string{"nginx": "nginx-light", "haproxy": "haproxy"}

// Measure measures everything and writes it to the page.
func Measure(ctx context.Context, o Options, page *measure.Page) error {
	if err := measure.Installed(tools); err != nil {
		return err
	}
	if o.Rounds < 2 || o.Many < 1 || o.Turns < 1 || o.Slice < 10*time.Millisecond {
		return fmt.Errorf("too little to measure: at least 2 rounds of a turn of 10 ms")
	}
	page.Section("How")
	page.Textf("CPU is that of the proxy's threads, as the kernel's scheduler counts it, per request answered: %d keep-alive connections, each of which asks again when it has its answer. "+
		"Every round starts all proxies anew and gives each %d turns of two slices of %s of load, in random order and then in the reverse; its cost is the median of the turns. "+
		"The proxy has one core for itself; the load and the backend (nginx, answering from memory) have the other. "+
		"Every proxy has one worker, keeps its connections to the backend, and adds a request id and X-Forwarded-For. Several hosts or paths are asked in turn. "+
		"Ratios are geometric means over the rounds, with the 95 %% interval of Student's distribution; a target counts as met if the interval's upper end does. "+
		"The configurations are in test/bench/static.", connections, o.Turns, o.Slice)
	for _, s := range shapes(o.Many) {
		if len(o.Shapes) > 0 && !slices.Contains(o.Shapes, s.short) {
			continue
		}
		if err := measureShape(ctx, o, s, page); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

func measureShape(ctx context.Context, o Options, s shape, page *measure.Page) error {
	r, err := s.measure(ctx, o)
	if err != nil {
		return err
	}
	report(page, s, r, o.Quiet)
	o.Progress("%s: %.1f µs, %s of the static Envoy", s.name, r.costs(ours).Median(), r.ratio(ours, same))
	return nil
}

// report writes a shape's figures.
func report(page *measure.Page, s shape, r *rounds, quiet float64) {
	page.Add(target(s.name+", against "+same, r.ratio(ours, same), 1.02))
	if slices.ContainsFunc(s.proxies, func(k kind) bool { return k.h2 }) {
		page.Add(
			target(s.name+", against "+defaults+" over HTTP/1.1", r.ratio(ours, defaults), 0.82),
			target(s.name+", against "+oursOverH1, r.ratio(ours, oursOverH1), 0.82))
	} else {
		page.Add(target(s.name+", against "+defaults, r.ratio(ours, defaults), 1.06))
	}
	page.Section(s.name)
	page.Textf("%d rounds, in which others used %.1f %% of the machine (median); %d were dropped because they used more than %.0f %%. Medians [smallest–largest].",
		len(r.others), 100*r.others.Median(), r.dropped, 100*quiet)
	var rows [][]string
	for _, k := range s.proxies {
		var rate measure.Figures
		for _, sample := range r.kept[k.name] {
			rate = append(rate, sample.rate())
		}
		ratio := "1"
		if k.name != ours {
			ratio = r.ratio(ours, k.name).String()
		}
		rows = append(rows, []string{k.name, k.file, r.costs(k.name).Range() + " µs", ratio,
			fmt.Sprintf("%.0f", rate.Median())})
	}
	page.Table([]string{"proxy", "file", "CPU per request", "Waggle's in comparison", "requests/s"}, rows)
}

func target(what string, r measure.Ratio, limit float64) measure.Target {
	return measure.Target{What: what, Want: fmt.Sprintf("≤ %.2f", limit), Measured: r.String(), Met: r.High <= limit}
}
