package eastwest

import (
	"context"
	"errors"
	"fmt"
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

// Kinds of ways to a Service.
const (
	direct  = "direct"       // by eBPF alone
	waggle  = "node's Envoy" // by the node's Envoy, as a CiliumEnvoyConfig has it
	sidecar = "sidecar"      // by an Envoy in the client's pod, without a Service
)

var kinds = []string{direct, waggle, sidecar}

// Ways, as figures name them: where the Service's backend is.
const (
	same  = "same"
	other = "other"
)

// Ways are all.
var Ways = []string{same, other}

// shape is how many connections there are and how many ask at once.
type shape struct {
	connections, atOnce int
	title               string
}

var shapes = map[string]shape{
	"1":      {1, 1, "1 connection"},
	"32":     {32, 32, "32 connections"},
	"256":    {256, 256, "256 connections"},
	"256/32": {256, 32, "256 connections, 32 ask at once"},
}

// Loads are the names of all shapes: in this order, for an Envoy keeps the
// connections to the backend that a load has needed.
var Loads = []string{"1", "32", "256/32", "256"}

var families = []int{4, 6}

// course is one kind of way to one Service, with its connections open.
type course struct {
	kind, way string
	family    int
	pools     map[string]load.Pool
	pids      []int
	envoy     int // its process; 0: none
	backend   netip.AddrPort
}

func (c *course) String() string { return fmt.Sprintf("%s, %s node, IPv%d", c.kind, c.way, c.family) }

func figureName(kind, way string, family int, load, figure string) string {
	return fmt.Sprintf("IPv%d/%s/%s/%s/%s", family, way, load, kind, figure)
}

// serviceName is that of the Service whose backend is on the same or the other
// node; each family has its own.
func serviceName(way string, family int) string { return fmt.Sprintf("%s%d", way, family) }

// round makes everything anew and lets the ways take turns.
func (o Options) round(ctx context.Context) (measure.Round, error) {
	r := measure.Round{Began: time.Now(), Of: o.of(), Figures: map[string]float64{}}
	var measured error
	err := nodes.Scoped(ctx, func(t testing.TB) {
		all := o.courses(t)
		measured = o.measureIn(ctx, all, &r)
	})
	return r, errors.Join(measured, err)
}

// courses makes a world in which a pod has all the ways to its Services.
func (o Options) courses(t testing.TB) (all []*course) {
	w := world.New(t)
	w.AddWaggle(t)
	backends, sidecarAt := map[string]netip.AddrPort{}, map[string]netip.AddrPort{}
	for _, family := range families {
		for _, way := range o.Ways {
			name, pod := serviceName(way, family), w.B
			if way == other {
				pod = w.D
			}
			backends[name] = netip.AddrPortFrom(pod.Addr(family), load.Port)
			sidecarAt[name] = netip.AddrPortFrom(loopback(family), uint16(18080+len(sidecarAt)))
		}
	}
	n := w.Waggle[0]
	resources, numbers, listeners := led(n.Renderer(), backends)
	envoy := n.Redirect(o.Binaries.Envoy, false, resources, numbers).Envoy
	inPod := world.StartSidecar(t, o.Binaries.Envoy, w.A, sidecarFile(backends, sidecarAt))
	for _, family := range families {
		for i, way := range o.Ways {
			name := serviceName(way, family)
			add := func(kind string, envoy int, target netip.AddrPort) {
				c := &course{kind: kind, way: way, family: family, pids: w.PIDs(), envoy: envoy, backend: backends[name]}
				if envoy != 0 {
					c.pids = append(c.pids, envoy)
				}
				if err := c.open(t.Context(), w.InPod, target, o.Loads); err != nil {
					t.Fatalf("%s: %v", c, err)
				}
				all = append(all, c)
			}
			add(direct, 0, writeService(n, name, family, byte(10+i), backends[name], ""))
			add(waggle, envoy.PID, writeService(n, name, family, byte(20+i), backends[name], listeners[name]))
			add(sidecar, inPod.PID, sidecarAt[name])
		}
	}
	return all
}

func loopback(family int) netip.Addr {
	if family == 6 {
		return netip.IPv6Loopback()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// writeService gives a Service an address, which leads to its backend or to a
// listener.
func writeService(n *world.Node, name string, family int, host byte, backend netip.AddrPort, listener string) netip.AddrPort {
	ctx := context.Background()
	set := model.BackendSet{
		Service: model.Name{Namespace: "bench", Name: name}, Port: load.Port, Protocol: model.TCP, Family: model.IPv4, Backends: []netip.AddrPort{backend},
	}
	if family == 6 {
		set.Family = model.IPv6
	}
	n.Must(n.Path.BackendSets().Update(ctx, set))
	at := netip.AddrPortFrom(world.Address(family, 96, host), load.Port)
	n.Must(n.Path.Frontends().Update(ctx, model.Frontend{
		Address: at, Protocol: model.TCP, Kind: model.ClusterIP, Service: set.Service, Port: load.Port, Internal: set.Key(), Redirect: listener,
	}))
	return at
}

// open waits until the way is there, and opens the connections of all loads.
func (c *course) open(ctx context.Context, client *load.Client, target netip.AddrPort, loads []string) (err error) {
	c.pools = map[string]load.Pool{}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err = client.Open(target, 1); err == nil {
			break
		}
		if ctx.Err() != nil || time.Now().After(end) {
			return err
		}
	}
	for _, l := range loads {
		if c.pools[l], err = client.Open(target, shapes[l].connections); err != nil {
			return err
		}
	}
	return nil
}

func (o Options) measureIn(ctx context.Context, all []*course, r *measure.Round) error {
	var whole world.Work
	for _, family := range families {
		for _, way := range o.Ways {
			group := slices.DeleteFunc(slices.Clone(all), func(c *course) bool { return c.family != family || c.way != way })
			for _, l := range o.Loads {
				sum, err := o.takeTurns(ctx, group, l, r.Figures)
				if err != nil {
					return err
				}
				whole.Add(sum)
			}
		}
	}
	r.Others = whole.Others()
	return nil
}

// warmUp is load before anything counts.
const warmUp = 50 * time.Millisecond

// takeTurns gives each way two slices of a load, and gives the sum of all.
func (o Options) takeTurns(ctx context.Context, group []*course, l string, figures map[string]float64) (whole world.Work, err error) {
	for _, c := range group { // caches, and connections to the backend
		if _, err := c.load(l, warmUp); err != nil {
			return whole, fmt.Errorf("%s: %w", c, err)
		}
	}
	each, whole, err := world.TakeTurns(ctx, 1, len(group), func(i int) (world.Work, error) {
		w, err := group[i].load(l, o.Slice)
		if err != nil {
			err = fmt.Errorf("%s: %w", group[i], err)
		}
		return w, err
	})
	if err != nil {
		return whole, err
	}
	for i, c := range group {
		s := each[i][0]
		perSlice := float64(time.Microsecond) * float64(s.Slices)
		for figure, v := range map[string]float64{
			"cpu": s.Cost(time.Microsecond), "rate": s.Rate(), "p50": float64(s.P50) / perSlice, "p99": float64(s.P99) / perSlice,
		} {
			figures[figureName(c.kind, c.way, c.family, l, figure)] = v
		}
		if c.envoy == 0 {
			continue
		}
		upstream, err := world.Connections(c.envoy, c.backend)
		if err != nil {
			return whole, err
		}
		figures[figureName(c.kind, c.way, c.family, l, "upstream")] = float64(upstream) / float64(shapes[l].connections)
	}
	return whole, nil
}

// load loads a way for a while.
func (c *course) load(l string, d time.Duration) (world.Work, error) {
	return world.Measure(c.pids, func() (load.Done, error) { return c.pools[l].AskSome(shapes[l].atOnce, d) })
}
