package redirect

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/test/bench/load"
	"github.com/waggle-mesh/waggle/test/bench/measure"
	"github.com/waggle-mesh/waggle/test/bench/world"
	"github.com/waggle-mesh/waggle/test/nodes"
)

// Kinds of Envoys.
const (
	static      = "static"     // clients connect to it, on a node without Waggle
	led         = "redirected" // clients connect to a Service, as the product leads them
	accelerated = "sockmap"    // the same, data handed from socket to socket
)

// Kinds are all.
var Kinds = []string{static, led, accelerated}

// Loads, as figures name them.
const (
	kept     = "kept"
	connects = "connect"
)

// Loads are all.
var Loads = []string{kept, connects}

var families = []int{4, 6}

const connections = 32

// course is the way to one Envoy, of one family, with connections open.
type course struct {
	kind   string
	family int
	client *load.Client
	target netip.AddrPort
	pool   load.Pool
	pids   []int
}

func figureName(kind string, family int, load, figure string) string {
	return fmt.Sprintf("IPv%d/%s/%s/%s", family, load, kind, figure)
}

// round makes everything anew and lets the Envoys take turns.
func (o Options) round(ctx context.Context) (measure.Round, error) {
	r := measure.Round{Began: time.Now(), Of: o.of(), Figures: map[string]float64{}}
	var measured error
	err := nodes.Scoped(ctx, func(t testing.TB) {
		var all []*course
		for _, i := range rand.Perm(len(o.Kinds)) {
			all = append(all, o.courses(t, o.Kinds[i])...)
		}
		measured = o.measureIn(ctx, all, &r)
	})
	return r, errors.Join(measured, err)
}

// courses makes a world with an Envoy on the first node.
func (o Options) courses(t testing.TB, kind string) []*course {
	w := world.New(t)
	backends := map[int]netip.AddrPort{}
	for _, family := range families {
		backends[family] = netip.AddrPortFrom(w.B.Addr(family), load.Port)
	}
	var envoy *world.Envoy
	targets := map[int]netip.AddrPort{}
	if kind == static {
		envoy = world.StartEnvoy(t, o.Binaries.Envoy, w.Nodes[0], staticBootstrap(w.Nodes[0], backends))
		for _, family := range families {
			targets[family] = netip.AddrPortFrom(w.Nodes[0].Addr(family), staticPorts[family])
		}
	} else {
		w.AddWaggle(t)
		n := w.Waggle[0]
		resources, numbers := redirected(n.Renderer(), backends)
		envoy = n.Redirect(o.Binaries.Envoy, kind == accelerated, resources, numbers).Envoy
		for _, family := range families {
			targets[family] = writeFrontend(n, family)
		}
	}
	var all []*course
	for _, family := range families {
		c := &course{kind: kind, family: family, client: w.InPod, target: targets[family], pids: append(w.PIDs(), envoy.PID)}
		if err := c.open(t.Context()); err != nil {
			t.Fatalf("%s, IPv%d: %v", kind, family, err)
		}
		all = append(all, c)
	}
	return all
}

// writeFrontend lets a Service's address lead to the listener.
func writeFrontend(n *world.Node, family int) netip.AddrPort {
	at := netip.AddrPortFrom(world.Address(family, 96, 10), load.Port)
	n.Must(n.Path.Frontends().Update(context.Background(), model.Frontend{
		Address: at, Protocol: model.TCP, Kind: model.ClusterIP, Service: nameOf(family), Port: load.Port, Redirect: listener(family).Key(),
	}))
	return at
}

// open waits until the way is there, and opens connections.
func (c *course) open(ctx context.Context) (err error) {
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if c.pool, err = c.client.Open(c.target, connections); err == nil || ctx.Err() != nil || time.Now().After(end) {
			return err
		}
	}
}

func (o Options) measureIn(ctx context.Context, all []*course, r *measure.Round) error {
	for _, c := range all { // caches, and connections to the backend
		for _, l := range o.Loads {
			if _, err := c.load(l, warmUp); err != nil {
				return fmt.Errorf("%s, IPv%d: %w", c.kind, c.family, err)
			}
		}
	}
	var whole world.Work
	for _, family := range families {
		for _, l := range o.Loads {
			group := slices.DeleteFunc(slices.Clone(all), func(c *course) bool { return c.family != family })
			sum, err := o.takeTurns(ctx, group, l, r.Figures)
			if err != nil {
				return err
			}
			whole.Add(sum)
		}
	}
	r.Others = whole.Others()
	return nil
}

// warmUp is load before anything counts.
const warmUp = 100 * time.Millisecond

// takeTurns gives each Envoy its turns of a load, of which the median counts. It
// gives the sum of all.
func (o Options) takeTurns(ctx context.Context, group []*course, l string, figures map[string]float64) (world.Work, error) {
	each, whole, err := world.TakeTurns(ctx, o.Turns, len(group), func(i int) (world.Work, error) {
		w, err := group[i].load(l, o.Slice)
		if err != nil {
			err = fmt.Errorf("%s, IPv%d: %w", group[i].kind, group[i].family, err)
		}
		return w, err
	})
	if err != nil {
		return whole, err
	}
	for i, c := range group {
		figures[figureName(c.kind, c.family, l, "cpu")] = each[i].Median(func(w world.Work) float64 { return w.Cost(time.Microsecond) })
		figures[figureName(c.kind, c.family, l, "rate")] = each[i].Median(world.Work.Rate)
	}
	return whole, nil
}

// load loads an Envoy for a while.
func (c *course) load(l string, d time.Duration) (world.Work, error) {
	return world.Measure(c.pids, func() (load.Done, error) {
		if l == kept {
			return c.pool.Ask(d)
		}
		return c.client.Connect(c.target, d)
	})
}
