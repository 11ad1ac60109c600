package l4

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/test/bench/load"
	"github.com/waggle-mesh/waggle/test/bench/measure"
	"github.com/waggle-mesh/waggle/test/bench/world"
	"github.com/waggle-mesh/waggle/test/nodes"
)

// Loads, as figures name them.
const (
	keptMany = "kept"    // connections that are held open, many at a time
	keptOne  = "one"     // one of them: nobody waits but for the way
	connects = "connect" // one request per connection
	streams  = "stream"
)

// Loads are all.
var Loads = []string{keptMany, keptOne, connects, streams}

const manyConnections = 32

// course is one way in one world, of one family, with its connections open.
type course struct {
	way
	kind   string
	family int
	world  *world.World
	many   load.Pool
	one    load.Pool
}

func (c *course) name(load, figure string) string {
	return figureName(c.kind, c.short, c.family, load, figure)
}

func figureName(kind, way string, family int, load, figure string) string {
	return fmt.Sprintf("IPv%d/%s/%s/%s/%s", family, way, load, kind, figure)
}

// round makes all worlds anew and lets them take turns.
func (b *bench) round(ctx context.Context) (measure.Round, error) {
	r := measure.Round{Began: time.Now(), Of: b.of(), Figures: map[string]float64{}}
	var measured error
	err := nodes.Scoped(ctx, func(t testing.TB) {
		worlds := b.worlds(t)
		measured = b.measureIn(ctx, worlds, &r)
	})
	return r, errors.Join(measured, err)
}

// worlds makes one of each kind, in some order: who comes first has the better
// places in memory, or the worse.
func (b *bench) worlds(t testing.TB) map[string]*world.World {
	worlds := map[string]*world.World{}
	for _, i := range rand.Perm(len(b.Kinds)) {
		w := world.New(t)
		switch worlds[b.Kinds[i]] = w; b.Kinds[i] {
		case plain:
			for _, n := range w.Nodes { // by way of the first node, as with a NodePort
				w.Client.Run(t, "ip", "route", "add", n.PodCIDR4.String(), "via", w.Nodes[0].Addr4.String())
				w.Client.Run(t, "ip", "route", "add", n.PodCIDR6.String(), "via", w.Nodes[0].Addr6.String())
			}
		case waggle:
			w.AddWaggle(t)
			for _, n := range w.Waggle {
				for _, s := range services() {
					s.write(t, w, n)
				}
			}
		case kubeProxy:
			for _, n := range w.Nodes {
				startKubeProxy(t, b.Kube, w, n)
			}
		}
	}
	return worlds
}

func (b *bench) measureIn(ctx context.Context, worlds map[string]*world.World, r *measure.Round) error {
	all, err := b.courses(ctx, worlds)
	if err != nil {
		return err
	}
	var whole world.Work
	for _, family := range families {
		for _, l := range b.Loads {
			group := slices.DeleteFunc(slices.Clone(all), func(c *course) bool { return c.family != family })
			sum, err := b.takeTurns(ctx, group, l, r.Figures)
			if err != nil {
				return err
			}
			whole.Add(sum)
		}
	}
	r.Others = whole.Others()
	return nil
}

// courses opens the connections of all.
func (b *bench) courses(ctx context.Context, worlds map[string]*world.World) ([]*course, error) {
	var all []*course
	for kind, w := range worlds {
		for _, y := range ways {
			if !slices.Contains(b.Ways, y.short) || kind == plain && y.short == "clusterip" {
				continue
			}
			for _, family := range families {
				c := &course{way: y, kind: kind, family: family, world: w}
				if err := c.open(ctx); err != nil {
					return nil, fmt.Errorf("%s, %s, IPv%d: %w", y.name, kind, family, err)
				}
				all = append(all, c)
			}
		}
	}
	slices.SortFunc(all, func(a, b *course) int { return strings.Compare(a.name("", ""), b.name("", "")) })
	return all, nil
}

// open waits until the way is there, and opens connections.
func (c *course) open(ctx context.Context) (err error) {
	at := c.target(c.world, c.kind, c.family, load.Port)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if c.one, err = c.client(c.world).Open(at, 1); err == nil {
			break
		}
		if ctx.Err() != nil || time.Now().After(end) {
			return err
		}
	}
	c.many, err = c.client(c.world).Open(at, manyConnections)
	return err
}

// takeTurns gives each course its turns of a load, and gives the sum of all.
func (b *bench) takeTurns(ctx context.Context, group []*course, l string, figures map[string]float64) (world.Work, error) {
	each, whole, err := world.TakeTurns(ctx, b.Turns, len(group), func(i int) (world.Work, error) {
		w, err := group[i].load(l, b.Slice)
		if err != nil {
			err = fmt.Errorf("%s, %s: %w", group[i].way.name, group[i].kind, err)
		}
		return w, err
	})
	if err != nil {
		return whole, err
	}
	for i, c := range group {
		for name, figure := range figuresOf(l) {
			figures[c.name(l, name)] = each[i].Median(figure)
		}
	}
	return whole, nil
}

// load loads a course for a while.
func (c *course) load(l string, d time.Duration) (world.Work, error) {
	at := func(port uint16) netip.AddrPort { return c.target(c.world, c.kind, c.family, port) }
	return world.Measure(c.world.PIDs(), func() (load.Done, error) {
		switch l {
		case keptMany:
			return c.many.Ask(d)
		case keptOne:
			return c.one.Ask(d)
		case connects:
			return c.client(c.world).Connect(at(load.Port), d)
		}
		return c.client(c.world).Stream(at(load.StreamPort), d)
	})
}

// figuresOf are in µs and per second; of streams, in ms of CPU per GB and GB
// per second.
func figuresOf(l string) map[string]func(world.Work) float64 {
	if l == streams {
		return map[string]func(world.Work) float64{
			"cpu":  func(w world.Work) float64 { return w.Cost(time.Millisecond) * 1e9 },
			"rate": func(w world.Work) float64 { return w.Rate() / 1e9 },
		}
	}
	f := map[string]func(world.Work) float64{
		"cpu":  func(w world.Work) float64 { return w.Cost(time.Microsecond) },
		"rate": world.Work.Rate,
	}
	if l == keptOne {
		perSlice := func(w world.Work) float64 { return float64(time.Microsecond) * float64(w.Slices) }
		f["p50"] = func(w world.Work) float64 { return float64(w.P50) / perSlice(w) }
		f["p99"] = func(w world.Work) float64 { return float64(w.P99) / perSlice(w) }
	}
	return f
}
