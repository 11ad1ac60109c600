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
	warmUp = 400 * time.Millisecond
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

// rounds are the samples of a shape by proxy, of the same rounds.
type rounds struct {
	kept    map[string][]sample
	others  measure.Figures // share of the machine that others took, by round
	dropped int
}

// costs are those of one proxy, in the order of the rounds.
func (r *rounds) costs(proxy string) measure.Figures {
	var f measure.Figures
	for _, s := range r.kept[proxy] {
		f = append(f, s.cost())
	}
	return f
}

// ratio is what one proxy costs in comparison with another.
func (r *rounds) ratio(proxy, base string) measure.Ratio {
	return measure.RatioOf(r.costs(proxy), r.costs(base))
}

// measure makes rounds, each with proxies that were started for it: where a
// process has its memory changes its price by some percent for as long as it
// lives. Rounds in which others use more of the machine than quiet are
// dropped, up to twice as many as are wanted; after that all are kept.
func (s shape) measure(ctx context.Context, o Options) (*rounds, error) {
	r := &rounds{kept: map[string][]sample{}}
	for len(r.others) < o.Rounds {
		samples, others, err := s.round(ctx, o)
		if err != nil {
			return nil, err
		}
		if others > o.Quiet && r.dropped < 2*o.Rounds {
			r.dropped++
			continue
		}
		r.others = append(r.others, others)
		for name, one := range samples {
			r.kept[name] = append(r.kept[name], one)
		}
	}
	return r, nil
}

// round starts the proxies and loads them in turn.
func (s shape) round(ctx context.Context, o Options) (samples map[string]sample, others float64, err error) {
	st, err := s.run(ctx, o.Binaries)
	if err != nil {
		return nil, 0, err
	}
	defer st.stop()
	if err := st.pin(); err != nil {
		return nil, 0, err
	}
	err = onOtherCore(func() error {
		samples, others, err = st.takeTurns(ctx, o.Turns, o.Slice)
		return err
	})
	return samples, others, err
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
