package envoy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// GenerationsOptions say how a node's Envoys give way to each other. Bases name
// them, as the data path does; 0 is none.
type GenerationsOptions struct {
	// Active reads who gets new connections, and who gets those for which
	// the first has no listener. SetActive changes it.
	Active    func() (current, previous uint16, err error)
	SetActive func(current, previous uint16) error
	// Served are the Envoys that live, whether they have arrived here or not:
	// after a restart of the agent they take a while.
	Served func() ([]uint16, error)
	// Acknowledged tells whether Envoy has answered for its listeners.
	Acknowledged func(base uint16) bool
	// Covers tells whether every listener that lives at other lives at base.
	Covers func(base, other uint16) (bool, error)
	// Admin speaks to an Envoy.
	Admin func(*os.Process) *Admin
	// Event tells the node's user what the log alone should not know.
	Event func(reason, message string)

	// Patience is how long a new Envoy that lacks listeners of the old one
	// may take; then it is used all the same. Zero: 30 s.
	Patience time.Duration
	// Settle is how long the old one is left alone after it got its last new
	// connection: they wait in its queues. Zero: 1 s.
	Settle time.Duration
	// Heir is how long one that is to end waits for a successor before it
	// drains without one. Zero: 10 s.
	Heir time.Duration
	// DrainTime is Envoy's own (--drain-time-s), over which it asks clients
	// to leave. Limit is how long it may live in all while connections do
	// not end. Zero: 5 s, 30 s.
	DrainTime, Limit time.Duration
}

// Generations replaces a node's Envoy by another under load:
//
//	B arrives ─▶ has all listeners ─▶ active {B, A} ─▶ A drains ─▶ idle, or limit ─▶ A ends ─▶ active {B, none}
//	                                        └─ B dies ─▶ active {A, none}
//
// It starts and ends no process. New connections follow active at once; the
// kernel takes the previous one by itself where the current one does not
// listen, so nothing here is in a hurry.
type Generations struct {
	o     GenerationsOptions
	log   *slog.Logger
	event chan struct{}

	mu     sync.Mutex
	living map[uint16]*generation
	seen   map[uint16]bool // who has arrived ever
}

// generation is an Envoy that lives, or has just ended.
type generation struct {
	*instance
	base    uint16
	arrived time.Time
	stop    context.CancelFunc // of the draining; nil: it does not drain
	drained chan struct{}      // closed when it may end
}

func (one *generation) isDrained() bool {
	select {
	case <-one.drained:
		return true
	default:
		return false
	}
}

// NewGenerations returns the keeper of a node's Envoys; see Run.
func NewGenerations(o GenerationsOptions, log *slog.Logger) *Generations {
	for _, d := range []struct {
		at    *time.Duration
		usual time.Duration
	}{{&o.Patience, 30 * time.Second}, {&o.Settle, time.Second}, {&o.Heir, 10 * time.Second}, {&o.DrainTime, 5 * time.Second}, {&o.Limit, 30 * time.Second}} {
		if *d.at == 0 {
			*d.at = d.usual
		}
	}
	return &Generations{o: o, log: log, event: make(chan struct{}, 1), living: map[uint16]*generation{}, seen: map[uint16]bool{}}
}

// Arrived tells of an Envoy that has connected, for the first time or again.
func (g *Generations) Arrived(base uint16, p *os.Process) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if old := g.living[base]; old != nil {
		if old.proc.Pid == p.Pid && !old.ended() {
			g.ring() // it may be there again after what is active was lost
			return nil
		}
		g.forget(old)
	}
	in, err := newInstance(p, false)
	if err != nil {
		return err
	}
	g.living[base] = &generation{instance: in, base: base, arrived: time.Now(), drained: make(chan struct{})}
	g.seen[base] = true
	g.log.Info("Envoy arrived", "pid", p.Pid, "base", base)
	go func() {
		<-in.gone
		g.ring()
	}()
	g.ring()
	return nil
}

func (g *Generations) ring() {
	select {
	case g.event <- struct{}{}:
	default:
	}
}

// forget lets go of a generation. The caller holds mu.
func (g *Generations) forget(old *generation) {
	if old.stop != nil {
		old.stop()
	}
	delete(g.living, old.base)
}

// Standing is how an Envoy stands.
type Standing struct {
	PID     int
	Base    uint16
	Arrived time.Time
	Active  bool // it gets new connections
	Drained bool // it may end
}

// Envoys are those that have arrived and live, in the order of their bases.
func (g *Generations) Envoys() []Standing {
	g.mu.Lock()
	defer g.mu.Unlock()
	current, _, _ := g.o.Active()
	var all []Standing
	for _, one := range g.living {
		if !one.ended() {
			all = append(all, Standing{one.proc.Pid, one.base, one.arrived, one.base == current, one.isDrained()})
		}
	}
	slices.SortFunc(all, func(a, b Standing) int { return int(a.Base) - int(b.Base) })
	return all
}

// WaitDrained returns when an Envoy may be ended: it was replaced and is idle,
// or its limit has passed. One to which no successor comes drains without. It
// is what a pod's preStop waits for.
func (g *Generations) WaitDrained(ctx context.Context, pid int) error {
	g.mu.Lock()
	var it *generation
	for _, one := range g.living {
		if one.proc.Pid == pid {
			it = one
		}
	}
	g.mu.Unlock()
	if it == nil {
		return fmt.Errorf("wait for Envoy, process %d, to drain: it is none that is served", pid)
	}
	heir := time.NewTicker(g.o.Heir) // and again, as one may come and die
	defer heir.Stop()
	for {
		select {
		case <-it.drained:
			return nil
		case <-it.gone:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-heir.C:
			g.drainAlone(it)
		}
	}
}

// End tells a drained Envoy to end.
func (g *Generations) End(pid int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, one := range g.living {
		if one.proc.Pid == pid && one.isDrained() && !one.ended() {
			return one.proc.Signal(syscall.SIGTERM)
		}
	}
	return nil // it has ended by itself
}

// drainAlone drains an Envoy that has no successor.
func (g *Generations) drainAlone(it *generation) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, one := range g.living {
		if one != it && !one.ended() {
			return // it drains when that one is ready
		}
	}
	if it.stop == nil && g.living[it.base] == it {
		g.drain(it)
	}
}

// Run keeps the active generation right until ctx ends. Envoys live on.
func (g *Generations) Run(ctx context.Context) error {
	const look = 20 * time.Millisecond // listeners are not told of
	for {
		waiting, err := g.step(time.Now())
		if err != nil {
			g.log.Warn("choose the active Envoy", "error", err)
			waiting = true
		}
		var again <-chan time.Time
		if waiting {
			again = time.After(look)
		}
		select {
		case <-ctx.Done():
			g.mu.Lock()
			defer g.mu.Unlock()
			for _, one := range g.living {
				if one.stop != nil {
					one.stop()
				}
			}
			return nil
		case <-g.event:
		case <-again:
		}
	}
}

// step does what is due, and tells whether somebody is waited for.
func (g *Generations) step(now time.Time) (waiting bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, one := range g.living {
		if one.ended() {
			g.log.Info("Envoy has ended", "pid", one.proc.Pid, "base", one.base)
			g.forget(one)
		}
	}
	current, previous, err := g.o.Active()
	if err != nil {
		return false, err
	}
	lives, err := g.lives()
	if err != nil {
		return false, err
	}
	if !lives(current) {
		if back := g.living[previous]; back != nil && !back.isDrained() {
			return false, g.fallBack(back)
		}
	} else if previous != 0 && !lives(previous) {
		return false, g.o.SetActive(current, 0)
	}
	for _, one := range g.living {
		switch {
		case one.base == current || one.isDrained():
		case one.base == previous:
			if one.stop == nil { // an earlier agent has begun
				g.drain(one)
			}
		default:
			if !lives(current) {
				current = 0
			}
			return true, g.promote(one, current, now)
		}
	}
	return false, nil
}

// promote makes a new generation the active one when it is ready. The current
// one (0: none lives) may not have arrived here yet: it is drained when it does.
func (g *Generations) promote(one *generation, current uint16, now time.Time) error {
	if !g.o.Acknowledged(one.base) {
		return nil
	}
	if current != 0 {
		covers, err := g.o.Covers(one.base, current)
		if err != nil {
			return err
		}
		if !covers && now.Sub(one.arrived) < g.o.Patience {
			return nil
		}
		if !covers {
			g.o.Event("EnvoyLacksListeners", fmt.Sprintf("the new Envoy (process %d) still lacks listeners of the old one after %s and is used all the same; connections to these go on to the old one while it lives", one.proc.Pid, g.o.Patience))
		}
	}
	if err := g.o.SetActive(one.base, current); err != nil {
		return err
	}
	g.log.Info("Envoy is active", "pid", one.proc.Pid, "base", one.base, "after", now.Sub(one.arrived))
	if old := g.living[current]; old != nil && old.stop == nil {
		g.drain(old)
	}
	return nil
}

// lives finds out who has not ended. The caller holds mu.
func (g *Generations) lives() (func(base uint16) bool, error) {
	served, err := g.o.Served()
	return func(base uint16) bool {
		return g.living[base] != nil || !g.seen[base] && slices.Contains(served, base)
	}, err
}

// fallBack uses the old generation again after the new one has died.
func (g *Generations) fallBack(old *generation) error {
	if err := g.o.SetActive(old.base, 0); err != nil {
		return err
	}
	if old.stop != nil {
		old.stop()
		old.stop = nil
	}
	g.o.Event("EnvoyReplacementDied", fmt.Sprintf("the new Envoy has died, the old one (process %d) serves on", old.proc.Pid))
	go func() {
		if err := g.o.Admin(old.proc).post(context.Background(), "/healthcheck/ok"); err != nil {
			g.log.Warn("tell Envoy that it is used again", "error", err)
		}
	}()
	return nil
}

// drain starts to empty a generation. The caller holds mu.
func (g *Generations) drain(old *generation) {
	ctx, cancel := context.WithCancel(context.Background())
	old.stop = cancel
	go func() {
		defer cancel()
		limit, done := context.WithTimeout(ctx, g.o.Limit)
		defer done()
		if err := g.empty(limit, old); err != nil && ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded) {
			g.log.Warn("drain Envoy", "pid", old.proc.Pid, "error", err)
			<-limit.Done()
		}
		if ctx.Err() == nil {
			g.emptied(old)
		}
	}()
}

// empty asks an Envoy's clients to leave, and waits until they have. While the
// limit lasts it keeps its listeners: the kernel may need them.
func (g *Generations) empty(ctx context.Context, old *generation) error {
	admin := g.o.Admin(old.proc)
	pause(ctx, g.o.Settle)
	if err := admin.post(ctx, "/drain_listeners?graceful&skip_exit"); err != nil {
		return err
	}
	soon, cancel := context.WithTimeout(ctx, g.o.DrainTime)
	err := admin.waitIdle(soon)
	cancel()
	if err == nil || ctx.Err() != nil {
		return err
	}
	if err := admin.post(ctx, "/healthcheck/fail"); err != nil {
		return err
	}
	return admin.waitIdle(ctx)
}

// emptied lets a generation end. Until it has, it stays the previous one: another
// agent that begins meanwhile must not take it for a successor.
func (g *Generations) emptied(old *generation) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.log.Info("Envoy may end", "pid", old.proc.Pid, "base", old.base)
	close(old.drained)
}
