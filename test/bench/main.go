// Command bench measures Waggle against its targets and writes a page of
// results: `bench routes` many routes, `bench hop` the price of a request,
// `bench l4` the way of packets through a node, `bench redirect` the way to
// Envoy, `bench l7-east-west` a Service behind a CiliumEnvoyConfig, `bench
// gateway` Gateways in a cluster.
// See docs/performance.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/waggle-mesh/waggle/test/bench/eastwest"
	"github.com/waggle-mesh/waggle/test/bench/gateway"
	"github.com/waggle-mesh/waggle/test/bench/hop"
	"github.com/waggle-mesh/waggle/test/bench/l4"
	"github.com/waggle-mesh/waggle/test/bench/load"
	"github.com/waggle-mesh/waggle/test/bench/measure"
	"github.com/waggle-mesh/waggle/test/bench/redirect"
	"github.com/waggle-mesh/waggle/test/bench/routes"
	"github.com/waggle-mesh/waggle/test/nodes"
)

const usage = "usage: go run ./test/bench routes|hop|l4|redirect|l7-east-west|gateway [flags]; -h after the name lists them"

func main() {
	load.Main() // unless this is the benchmark itself
	nodes.Main(measureAll)
}

func measureAll() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	switch args[0] {
	case "routes":
		return runRoutes(ctx, args[1:])
	case "hop":
		return runHop(ctx, args[1:])
	case "l4":
		return runL4(ctx, args[1:])
	case "redirect":
		return runRedirect(ctx, args[1:])
	case "l7-east-west":
		return runEastWest(ctx, args[1:])
	case "gateway":
		return runGateway(ctx, args[1:])
	}
	return fmt.Errorf("there is no benchmark %q; %s", args[0], usage)
}

func runRoutes(ctx context.Context, args []string) error {
	o := routes.Options{Progress: progress}
	f := newFlags("routes", &o.Binaries)
	f.IntVar(&o.Routes, "routes", 5000, "the most HTTPRoutes")
	f.IntVar(&o.Edits, "edits", 500, "edits in a series: enough for the garbage collector to run")
	f.IntVar(&o.Starts, "starts", 3, "repetitions of a start")
	f.IntVar(&o.Flips, "flips", 200, "changes under load")
	f.Var((*list)(&o.Parts), "parts", "measure these alone: "+strings.Join(routes.Parts, ","))
	f.StringVar(&o.Append, "append", "", "`file` of parts: those in it are on the page too, and this run's are added")
	f.Parse(args)
	return f.write("Routes at scale", o.Binaries, func(p *measure.Page) error { return routes.Measure(ctx, o, p) })
}

func runHop(ctx context.Context, args []string) error {
	o := hop.Options{}
	o.Progress = progress
	f := newFlags("hop", &o.Binaries)
	o.Flags(f.FlagSet, 20, 20*time.Millisecond)
	f.IntVar(&o.Many, "many", 5000, "hosts, and path rules of one host")
	f.IntVar(&o.Turns, "turns", 8, "turns of all proxies in a round")
	f.Var((*list)(&o.Shapes), "shapes", "measure these alone: "+strings.Join(hop.Shapes, ","))
	f.Parse(args)
	return f.write("The price of a hop", o.Binaries, func(p *measure.Page) error { return hop.Measure(ctx, o, p) })
}

func runL4(ctx context.Context, args []string) error {
	o := l4.Options{}
	o.Progress = progress
	f := newFlags("l4", &o.Binaries)
	o.Flags(f.FlagSet, 15, 20*time.Millisecond)
	f.IntVar(&o.Turns, "turns", 6, "turns of all ways in a round")
	f.StringVar(&o.Kube, "kube", l4.DefaultKube(), "the sandbox's program that is kube-proxy")
	f.Var((*list)(&o.Ways), "ways", "measure these alone: "+strings.Join(l4.Ways, ","))
	f.Var((*list)(&o.Kinds), "worlds", "measure these alone: "+strings.Join(l4.Kinds, ","))
	f.Var((*list)(&o.Loads), "loads", "measure these alone: "+strings.Join(l4.Loads, ","))
	f.Parse(args)
	return f.write("The way through a node", o.Binaries, func(p *measure.Page) error { return l4.Measure(ctx, o, p) })
}

func runRedirect(ctx context.Context, args []string) error {
	o := redirect.Options{}
	o.Progress = progress
	f := newFlags("redirect", &o.Binaries)
	o.Flags(f.FlagSet, 40, 20*time.Millisecond)
	f.IntVar(&o.Turns, "turns", 10, "turns of all Envoys in a round")
	f.Var((*list)(&o.Kinds), "envoys", "measure these alone: "+strings.Join(redirect.Kinds, ","))
	f.Var((*list)(&o.Loads), "loads", "measure these alone: "+strings.Join(redirect.Loads, ","))
	f.Parse(args)
	return f.write("The way to Envoy", o.Binaries, func(p *measure.Page) error { return redirect.Measure(ctx, o, p) })
}

func runEastWest(ctx context.Context, args []string) error {
	o := eastwest.Options{}
	o.Progress = progress
	f := newFlags("l7-east-west", &o.Binaries)
	o.Flags(f.FlagSet, 25, 60*time.Millisecond)
	f.Var((*list)(&o.Ways), "ways", "measure these alone: "+strings.Join(eastwest.Ways, ","))
	f.Var((*list)(&o.Loads), "loads", "measure these alone, connections and how many of them ask at once: "+strings.Join(eastwest.Loads, ","))
	f.examples(
		"-for 4m                            # as many rounds as fit",
		"-rounds 3 -loads 32 -ways same     # a look",
		"-for 5m -append rounds.json       # again: more rounds, on one page",
	)
	f.Parse(args)
	return f.write("Pod to pod by way of Envoy", o.Binaries, func(p *measure.Page) error { return eastwest.Measure(ctx, o, p) })
}

func runGateway(ctx context.Context, args []string) error {
	o := gateway.Options{}
	o.Progress = progress
	f := newFlags("gateway", &o.Binaries)
	f.IntVar(&o.Rounds, "rounds", 25, "of traffic: Envoys are made anew for each; targets need 15 or more")
	f.DurationVar(&o.For, "for", 0, "begin no round of traffic later than this")
	f.DurationVar(&o.Slice, "slice", 60*time.Millisecond, "traffic to one Envoy at a time")
	f.Float64Var(&o.Quiet, "quiet", 0.1, "drop rounds of traffic in which others take more than this `share` of the core")
	f.IntVar(&o.Routes, "routes", 5000, "the most HTTPRoutes; a fifth of them for comparison")
	f.IntVar(&o.Probes, "probes", 100, "new routes in a series")
	f.DurationVar(&o.Churn, "churn", 5*time.Minute, "how long that is watched; half as long with a fifth of the routes")
	f.DurationVar(&o.Idle, "idle", 5*time.Minute, "how long rest is watched")
	f.IntVar(&o.Changes, "changes", 200, "of a route under load")
	f.StringVar(&o.Kube, "kube", l4.DefaultKube(), "the sandbox's program that is etcd and the API server")
	f.Var((*list)(&o.Parts), "parts", "measure these alone: "+strings.Join(gateway.Parts, ","))
	f.StringVar(&o.PartsFile, "append", "", "`file` of parts: those in it are on the page too, and this run's are added")
	f.examples(
		"-parts traffic -for 3m",
		"-parts probe -append parts.json                     # one part, in place of that in the file",
		"-parts steady -churn 2m -idle 2m -append parts.json",
		"-parts probe,steady -routes 200 -probes 10 -churn 20s -idle 10s   # a look",
	)
	f.Parse(args)
	return f.write("Gateways in a cluster", o.Binaries, func(p *measure.Page) error { return gateway.Measure(ctx, o, p) })
}

// flags are those that all benchmarks have.
type flags struct {
	*flag.FlagSet
	out string
}

func newFlags(name string, b *measure.Binaries) *flags {
	f := &flags{FlagSet: flag.NewFlagSet(name, flag.ExitOnError)}
	f.StringVar(&f.out, "out", "docs/results/"+name+".md", "the page of results")
	f.StringVar(&b.Waggle, "waggle", "bin/waggle", "the waggle under test")
	f.StringVar(&b.Envoy, "envoy", ".tools/envoy", "the stock Envoy")
	return f
}

// examples shows some after the flags.
func (f *flags) examples(lines ...string) {
	f.Usage = func() {
		fmt.Fprintf(f.Output(), "Usage of bench %s:\n", f.Name())
		f.PrintDefaults()
		fmt.Fprintln(f.Output(), "Examples:")
		for _, l := range lines {
			fmt.Fprintf(f.Output(), "  go run ./test/bench %s %s\n", f.Name(), l)
		}
	}
}

// write makes a page of what is measured.
func (f *flags) write(title string, b measure.Binaries, fill func(*measure.Page) error) error {
	machine, err := b.Describe()
	if err != nil {
		return err
	}
	page := &measure.Page{Title: title, Command: f.command(), Machine: machine, Began: time.Now()}
	if err := fill(page); err != nil {
		return err
	}
	out, err := os.Create(f.out)
	if err != nil {
		return err
	}
	if _, err := page.WriteTo(out); err != nil {
		return err
	}
	progress("%d targets missed; results are in %s", page.Missed(), f.out)
	return out.Close()
}

// list is a flag of several words.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(words string) error {
	*l = strings.Split(words, ",")
	return nil
}

// command is what makes the page again.
func (f *flags) command() string {
	var less []string
	f.Visit(func(set *flag.Flag) {
		if set.Name != "out" && set.Name != "append" && set.Name != "kube" && set.Name != "waggle" && set.Name != "envoy" { // paths of this machine
			less = append(less, " -"+set.Name+" "+set.Value.String())
		}
	})
	if len(less) == 0 {
		return "make bench-" + f.Name()
	}
	return "go run ./test/bench " + f.Name() + strings.Join(less, "")
}

// progress tells who waits that something goes on.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}
