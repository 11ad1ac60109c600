package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/test/bench/cluster"
	"github.com/waggle-mesh/waggle/test/bench/load"
	"github.com/waggle-mesh/waggle/test/bench/measure"
	"github.com/waggle-mesh/waggle/test/bench/world"
	"github.com/waggle-mesh/waggle/test/nodes"
)

// Kinds of Envoys.
const (
	led    = "Gateway"
	static = "static"                // at a host port of the Gateway's node
	bare   = "static without Waggle" // at a host port of a node without Waggle
)

var kinds = []string{led, static, bare}

var described = map[string]string{static: "a static Envoy", bare: "a static Envoy without Waggle"}

// counts are how many connections are kept; connects, one request for each.
var counts = []int{1, 16, 32, 64, 512}

const connects = "connect"

// loads are all, as figures name them.
func loads() (all []string) {
	for _, n := range counts {
		all = append(all, fmt.Sprint(n))
	}
	return append(all, connects)
}

func loadName(l string) string {
	switch l {
	case connects:
		return "one request per connection"
	case "1":
		return "1 connection"
	}
	return l + " connections"
}

// course is the way to one Envoy from outside, with connections open.
type course struct {
	kind   string
	client *load.Client
	target netip.AddrPort
	pools  map[string]load.Pool
	pids   []int
}

func figureName(kind, load, figure string) string { return kind + "/" + load + "/" + figure }

// trafficHost is in the requests of package load.
const trafficHost = "bench"

// traffic measures what a request costs.
func (o Options) traffic(ctx context.Context, put func(string, func(*measure.Page)) error) error {
	var record *measure.Record
	err := o.inCluster(ctx, true, func(s *site) (err error) {
		pod := s.AddPod(trafficHost)
		if err := s.AddService(trafficHost, pod.Addr4); err != nil {
			return err
		}
		if err := s.addRoute(trafficHost, []cluster.Object{{"backendRefs": []cluster.Object{{"name": trafficHost, "port": 80}}}}); err != nil {
			return err
		}
		o.Append = ""
		record, err = o.Series.Measure("traffic", func() (measure.Round, error) { return s.round(pod) })
		return err
	})
	if err != nil {
		return err
	}
	return put(traffic, func(p *measure.Page) { o.reportTraffic(p, record) })
}

// round starts all Envoys, clients and backends anew and lets them take turns.
func (s *site) round(pod *nodes.Pod) (measure.Round, error) {
	r := measure.Round{Began: time.Now(), Of: "traffic", Figures: map[string]float64{}}
	var measured error
	err := nodes.Scoped(s.ctx, func(t testing.TB) {
		backend := load.Serve(t, &pod.Machine, world.Core())
		gateway := s.gatewayCourse(t, backend)
		served, err := s.readServed()
		if err != nil {
			t.Fatal(err)
		}
		measured = s.takeAllTurns([]*course{gateway, s.staticCourse(t, served, pod, backend), s.bareCourse(t, served)}, r.Figures, &r.Others)
	})
	return r, errors.Join(measured, err)
}

func (s *site) gatewayCourse(t testing.TB, backend *load.Process) *course {
	client := load.NewClient(t, s.Client, world.Core())
	s.Envoy.Kill()
	s.StartEnvoy()
	c := &course{kind: led, client: client, target: s.gateway, pids: []int{backend.PID, client.PID, s.Envoy.PID()}}
	c.open(t)
	return c
}

// hostPort is that of the static Envoys.
const hostPort = 18080

// staticCourse leads to the same pod by a process of the Gateway's node.
func (s *site) staticCourse(t testing.TB, served served, pod *nodes.Pod, backend *load.Process) *course {
	at := netip.AddrPortFrom(s.Node.Addr4, hostPort)
	envoy := world.StartEnvoy(t, s.o.Binaries.Envoy, s.Node, served.static(at, netip.AddrPortFrom(pod.Addr4, load.Port)))
	client := load.NewClient(t, s.Client, world.Core())
	c := &course{kind: static, client: client, target: at, pids: []int{backend.PID, client.PID, envoy.PID}}
	c.open(t)
	return c
}

// bareCourse makes a world without Waggle.
func (s *site) bareCourse(t testing.TB, served served) *course {
	w := world.New(t)
	at := netip.AddrPortFrom(w.Nodes[0].Addr4, hostPort)
	envoy := world.StartEnvoy(t, s.o.Binaries.Envoy, w.Nodes[0], served.static(at, netip.AddrPortFrom(w.B.Addr4, load.Port)))
	c := &course{kind: bare, client: w.Outside, target: at, pids: append(w.PIDs(), envoy.PID)}
	c.open(t)
	return c
}

// open waits until the Envoy answers, and opens connections.
func (c *course) open(t testing.TB) {
	c.pools = map[string]load.Pool{}
	err := cluster.Until(t.Context(), 20*time.Second, "the "+c.kind+" Envoy answers", func() error {
		_, err := c.client.Open(c.target, 1)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range counts {
		if c.pools[fmt.Sprint(n)], err = c.client.Open(c.target, n); err != nil {
			t.Fatalf("%s: %v", c.kind, err)
		}
	}
}

// warmUp is load before anything counts.
const warmUp = 50 * time.Millisecond

func (s *site) takeAllTurns(all []*course, figures map[string]float64, others *float64) error {
	var whole world.Work
	for _, l := range loads() {
		sums := make([]world.Work, len(all))
		for _, c := range all {
			if _, err := c.load(l, warmUp); err != nil {
				return fmt.Errorf("%s: %w", c.kind, err)
			}
		}
		for _, i := range slices.Concat(world.ThereAndBack(len(all)), world.ThereAndBack(len(all))) {
			if s.ctx.Err() != nil {
				return s.ctx.Err()
			}
			w, err := all[i].load(l, s.o.Slice)
			if err != nil {
				return fmt.Errorf("%s: %w", all[i].kind, err)
			}
			sums[i].Add(w)
			whole.Add(w)
		}
		for i, c := range all {
			figures[figureName(c.kind, l, "cpu")] = sums[i].Cost(time.Microsecond)
			figures[figureName(c.kind, l, "rate")] = sums[i].Rate()
		}
		figures[figureName("against", l, "cpu")] = figures[figureName(led, l, "cpu")] / figures[figureName(static, l, "cpu")]
	}
	*others = whole.Others()
	return nil
}

// load loads an Envoy for a while.
func (c *course) load(l string, d time.Duration) (world.Work, error) {
	return world.Measure(c.pids, func() (load.Done, error) {
		if l == connects {
			return c.client.Connect(c.target, d)
		}
		return c.pools[l].Ask(d)
	})
}

// Targets of traffic.
const (
	mostKept    = 1.05 // of the static Envoy's CPU
	mostConnect = 1.12
	mostGrowth  = 1.05 // of that comparison, with many connections: what a measurement can tell from none
	leastHeld   = 0.95 // of the rate with fewer connections
)

func (o Options) reportTraffic(page *measure.Page, r *measure.Record) {
	page.Add(trafficTargets(r)...)
	page.Section("Traffic")
	page.Textf("%s "+
		"A client outside asks the LoadBalancer address of a Gateway, whose Envoy asks a pod of its node. The static Envoy is at a host port of the same node and asks the same pod; another one is on a node without Waggle, whose pod has the kernel's own routes alone: "+
		"what a node's data path costs by itself is in there, too. Their file has what the Gateway's Envoy says that it was told, but for what leads connections to it and marks those that it makes. Every Envoy has one worker. A round starts clients, Envoys and backends anew and gives each Envoy four slices of %s of a load, in random orders and their reverse. "+
		"Client, Envoy and backend share one core and keep it busy: what a request costs is all that core did for it, the packets' way in softirqs included; so a rate is what one core gives for all three.",
		r.Describe(), o.Slice)
	var rows [][]string
	for _, l := range loads() {
		for _, kind := range kinds {
			text := "1"
			if kind != led {
				text = r.Ratio(figureName(led, l, "cpu"), figureName(kind, l, "cpu")).String()
			}
			rows = append(rows, []string{loadName(l), kind, r.Figures(figureName(kind, l, "cpu")).Range() + " µs",
				fmt.Sprintf("%.0f", r.Figures(figureName(kind, l, "rate")).Median()), text})
		}
	}
	page.Table([]string{"load", "Envoy", "CPU per request", "requests/s", "the Gateway's CPU in comparison"}, rows)
}

// trafficTargets are met by whole intervals: at most by their upper end, at
// least by their lower one, so that noise misses them.
func trafficTargets(r *measure.Record) (all []measure.Target) {
	for _, kind := range []string{static, bare} {
		for _, l := range loads() {
			limit := mostKept
			if l == connects {
				limit = mostConnect
			}
			cpu := r.Ratio(figureName(led, l, "cpu"), figureName(kind, l, "cpu"))
			all = append(all, measure.Target{What: loadName(l) + ": CPU per request by the Gateway against " + described[kind],
				Want: fmt.Sprintf("≤ %.2f", limit), Measured: cpu.String(), Met: cpu.High <= limit})
		}
	}
	against := r.Ratio(figureName("against", "512", "cpu"), figureName("against", "32", "cpu"))
	all = append(all, measure.Target{What: "512 connections against 32: that comparison's growth", Want: fmt.Sprintf("none (≤ %.2f ×)", mostGrowth),
		Measured: against.String(), Met: against.High <= mostGrowth})
	rate := func(more, fewer string) measure.Ratio {
		return r.Ratio(figureName(led, more, "rate"), figureName(led, fewer, "rate"))
	}
	rises := rate("16", "1")
	all = append(all, measure.Target{What: "requests per second by the Gateway, 16 connections against 1", Want: "> 1", Measured: rises.String(), Met: rises.Low > 1})
	for _, pair := range [][2]string{{"64", "16"}, {"512", "64"}} {
		// One core does all, so that rates go as costs do, a static Envoy's too.
		holds, staticToo := rate(pair[0], pair[1]), r.Ratio(figureName("against", pair[1], "cpu"), figureName("against", pair[0], "cpu"))
		what, want := fmt.Sprintf("the same, %s connections against %s", pair[0], pair[1]), fmt.Sprintf("≥ %.2f", leastHeld)
		all = append(all, measure.Target{What: what, Want: want, Measured: holds.String(), Met: holds.Low >= leastHeld},
			measure.Target{What: what + ", in terms of the static Envoy's", Want: want, Measured: staticToo.String(), Met: staticToo.Low >= leastHeld})
	}
	return all
}
