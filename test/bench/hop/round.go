package hop

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/waggle-mesh/waggle/test/bench/measure"
)

const (
	// connections that are held open to each proxy.
	connections = 32
	// warmUp is the load before anything counts: connections to the backend,
	// caches.
	warmUp = 250 * time.Millisecond
)

// work is what one proxy did in one turn.
type work struct {
	cpu     time.Duration // of the proxy
	took    time.Duration
	answers int
}

// sample is what one proxy did in one round. A turn in which somebody else
// had the processor's caches for a moment says nothing: what counts is the
// median.
type sample []work

// cost is the CPU of the proxy per request, in µs.
func (s sample) cost() float64 {
	return s.median(func(w work) float64 { return float64(w.cpu) / float64(time.Microsecond) / float64(w.answers) })
}

// rate is in requests per second.
func (s sample) rate() float64 {
	return s.median(func(w work) float64 { return float64(w.answers) / w.took.Seconds() })
}

func (s sample) median(of func(work) float64) float64 {
	var f measure.Figures
	for _, w := range s {
		f = append(f, of(w))
	}
	return f.Median()
}

// Figures of a proxy in a round.
const (
	cpuFigure  = "cpu"  // of the proxy per request, in µs
	rateFigure = "rate" // requests per second
)

// figure names a figure of a round.
func (s shape) figure(proxy, what string) string { return s.short + "|" + proxy + "|" + what }

// rounds are those that a record has of the shape.
func (s shape) rounds(r *measure.Record) (rounds []measure.Round) {
	for _, round := range r.Rounds {
		if _, ok := round.Figures[s.figure(ours, cpuFigure)]; ok {
			rounds = append(rounds, round)
		}
	}
	return rounds
}

// ratio is what one proxy costs in comparison with another.
func (s shape) ratio(r *measure.Record, proxy, base string) measure.Ratio {
	return r.Ratio(s.figure(proxy, cpuFigure), s.figure(base, cpuFigure))
}

// besideEvery is how many rounds there are for one with the proxies that no
// target is about.
const besideEvery = 4

// round starts the proxies, for this round alone, and loads them in turn: where
// a process has its memory changes its price by some percent for as long as it
// lives.
func (s shape) round(ctx context.Context, o Options, of string, beside bool) (measure.Round, error) {
	r := measure.Round{Began: time.Now(), Of: of, Figures: map[string]float64{}}
	if !beside {
		s.proxies = slices.DeleteFunc(slices.Clone(s.proxies), func(k kind) bool { return k.beside })
	}
	st, err := s.run(ctx, o.Binaries)
	if err != nil {
		return r, err
	}
	defer st.stop()
	if err := st.pin(); err != nil {
		return r, err
	}
	var samples map[string]sample
	err = onOtherCore(func() error {
		samples, r.Others, err = st.takeTurns(ctx, o.Turns, o.Slice)
		return err
	})
	for proxy, one := range samples {
		r.Figures[s.figure(proxy, cpuFigure)] = one.cost()
		r.Figures[s.figure(proxy, rateFigure)] = one.rate()
	}
	return r, err
}

// takeTurns lets each proxy have two slices of load a turn: all in some
// order, then all in the reverse, so that what grows or fades meanwhile does
// so for all alike.
func (st *stage) takeTurns(ctx context.Context, turns int, slice time.Duration) (map[string]sample, float64, error) {
	for _, p := range st.proxies {
		if err := p.load(warmUp, &work{}); err != nil {
			return nil, 0, fmt.Errorf("%s, %s: %w", st.name, p.name, err)
		}
	}
	runtime.GC() // not in somebody's slice
	before, err := st.look()
	if err != nil {
		return nil, 0, err
	}
	samples := map[string]sample{}
	for range turns {
		done, err := st.turn(ctx, slice)
		if err != nil {
			return nil, 0, err
		}
		for i, p := range st.proxies {
			samples[p.name] = append(samples[p.name], done[i])
		}
	}
	after, err := st.look()
	if err != nil {
		return nil, 0, err
	}
	return samples, after.others(before), nil
}

// turn gives what each proxy did.
func (st *stage) turn(ctx context.Context, slice time.Duration) ([]work, error) {
	done := make([]work, len(st.proxies))
	order := rand.Perm(len(st.proxies))
	back := slices.Clone(order)
	slices.Reverse(back)
	for _, i := range append(order, back...) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err := st.proxies[i].load(slice, &done[i]); err != nil {
			return nil, fmt.Errorf("%s, %s: %w", st.name, st.proxies[i].name, err)
		}
	}
	return done, nil
}

// load asks a proxy for a while and adds what that took to the sum.
func (p *proxy) load(d time.Duration, sum *work) error {
	began := time.Now()
	before, err := measure.CPU(p.pids()...)
	if err != nil {
		return err
	}
	answers, err := p.client.load(d)
	if err != nil {
		return err
	}
	sum.took += time.Since(began)
	after, err := measure.CPU(p.pids()...)
	if err != nil {
		return err
	}
	sum.cpu += after - before
	sum.answers += answers
	return nil
}

// moment is what clocks and counters say at one time.
type moment struct {
	at      time.Time
	machine measure.MachineCPU
	ours    time.Duration // of all that has a part in the measurement
}

func (st *stage) look() (moment, error) {
	var pids []int
	for _, p := range st.proxies {
		pids = append(pids, p.pids()...)
	}
	for _, b := range st.backend {
		pids = append(pids, b.Family()...)
	}
	ours, err := measure.CPU(pids...)
	if err != nil {
		return moment{}, err
	}
	var self syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &self); err != nil {
		return moment{}, fmt.Errorf("ask what the load takes: %w", err)
	}
	machine, err := measure.WholeMachine()
	return moment{time.Now(), machine, ours + time.Duration(self.Utime.Nano()+self.Stime.Nano())}, err
}

// others is the share of the machine's CPU that was used since an earlier
// moment by processes which have no part in the measurement, 0 to 1.
func (m moment) others(before moment) float64 {
	others := m.machine.Busy - before.machine.Busy - (m.ours - before.ours)
	return max(0, others.Seconds()) / (m.at.Sub(before.at).Seconds() * float64(m.machine.Cores))
}
