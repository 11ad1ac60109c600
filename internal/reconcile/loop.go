// Package reconcile makes the world like the rows of a table.
//
//	table ──Changed──▶ Loop ──Update, Delete, Prune──▶ Output (the world)
//	   ▲                 │
//	   └──── Outcome ◀───┘
//
// An Output only knows how to make one row so; the Loop remembers what is
// still to be done, retries with back-off what the world refused, and tells
// what became of each row. This is the one place where the world's failures
// are seen: stages before it never fail.
package reconcile

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/waggle-mesh/waggle/internal/flow"
)

// An Output makes rows real. The Loop calls it from one goroutine.
type Output[T flow.Row, R any] interface {
	// Update makes the world like row, whatever it was like before. The
	// result is for the row's Outcome.
	Update(ctx context.Context, row T) (R, error)
	// Delete takes the row of that key out of the world. That it is not
	// there is no error.
	Delete(ctx context.Context, key string) error
	// Prune takes out of the world everything that is not among the keys:
	// what an earlier process left. It runs once, before anything else.
	Prune(ctx context.Context, keys []string) error
}

// Outcome is what became of a version of a row: the newest at the time of the
// try, so that another may follow.
type Outcome[R any] struct {
	RowKey  string
	Result  R
	Deleted bool  // the row is gone from the table, and from the world if Err is nil
	Err     error // the world's refusal; the Loop tries again by itself
}

// Back-off between tries of one row: doubled from first to last.
const (
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 30 * time.Second
)

// againEvery is how much time is between two tries of one row that Again asks
// for: somebody who keeps changing what we made is not fought for every
// request that the world can bear.
const againEvery = time.Second

// A Loop brings an Output up to date with a table.
type Loop[T flow.Row, R any] struct {
	output  Output[T, R]
	log     *slog.Logger
	outcome func(Outcome[R])
	spacing func(before, after T) time.Duration
	linger  time.Duration
	yield   time.Duration
	before  func(row T) bool
	turn    func(row T) Turn

	mu     sync.Mutex
	last   map[string]time.Time // when a row was made so, where there is a spacing
	again  map[string]time.Time // when a row was tried for Again, in the last againEvery
	synced bool
	pruned bool   // Run's
	worked bool   // Run's: every row has been tried once
	served string // Run's: whose turn was the last
	todo   map[string]task[T]
	asked  uint64 // how often Changed or Again have asked for something
	trying string // the key of the row that is being made so
	wake   chan struct{}
	passed chan struct{}
	pass   sync.Once // closes passed
}

// task is one row that the world is not known to be like.
type task[T flow.Row] struct {
	row     T
	deleted bool
	tries   int
	due     time.Time     // zero: now
	space   time.Duration // that must have passed since it was made so
	again   bool          // nobody but Again has asked
	version uint64        // to tell whether it changed while it was worked on
	turn    Turn
	since   uint64 // Loop.asked when it began to wait for its turn
}

// New makes a Loop, which does nothing before Run. outcome is called from
// Run's goroutine after each try.
func New[T flow.Row, R any](output Output[T, R], log *slog.Logger, outcome func(Outcome[R])) *Loop[T, R] {
	return &Loop[T, R]{output: output, log: log, outcome: outcome, todo: map[string]task[T]{}, again: map[string]time.Time{},
		wake: make(chan struct{}, 1), passed: make(chan struct{})}
}

// Space has the Loop wait where a row changes soon after the last time it was
// made so: spacing tells how much time must be between the two, by the row as
// it was and is. It is called before Run.
func (l *Loop[T, R]) Space(spacing func(before, after T) time.Duration) {
	l.spacing, l.last = spacing, map[string]time.Time{}
}

// Linger has what is in no row any more stay in the world for that long, as
// others may still refer to it. It is called before Run.
func (l *Loop[T, R]) Linger(long time.Duration) { l.linger = long }

// Yield has a row be made so that long after it has changed, but for the first
// rows of all: what matters more is done meanwhile, and what changes again
// is done once. It is called before Run.
func (l *Loop[T, R]) Yield(long time.Duration) { l.yield = long }

// First has rows be made so before others, of those that are due: what others
// give up may have moved into them. It is called before Run.
func (l *Loop[T, R]) First(before func(row T) bool) { l.before = before }

// Synced says that every feed has synced and Changed has brought all rows:
// from here on the world is changed, and what is in no row pruned from it.
func (l *Loop[T, R]) Synced() {
	l.mu.Lock()
	l.synced = true
	l.mu.Unlock()
	l.poke()
}

// Passed is closed when, after Synced, the Output has pruned and every row has
// been tried once.
func (l *Loop[T, R]) Passed() <-chan struct{} { return l.passed }

// Changed takes note of what is to be done; it is a sink of the table.
func (l *Loop[T, R]) Changed(changes []flow.Change[T]) {
	l.mu.Lock()
	l.asked++
	for _, c := range changes {
		had, waits := l.todo[c.Key]
		t := task[T]{row: c.New, deleted: !c.HasNew, version: had.version + 1, since: l.asked}
		if waits && !t.deleted && c.Key != l.trying {
			t.since = had.since
		}
		if row := c.New; l.turn != nil {
			if t.deleted {
				row = c.Old
			}
			t.turn = l.turn(row)
		}
		switch {
		case t.deleted && l.linger > 0:
			t.due = time.Now().Add(l.linger)
		case t.deleted || l.yield == 0 || !l.synced:
		case waits && !had.again && had.tries == 0: // it yields already
			t.due = had.due
		default:
			t.due = time.Now().Add(l.yield)
		}
		if l.spacing != nil && c.HadOld && c.HasNew {
			if t.space = l.spacing(c.Old, c.New); waits && !had.again {
				t.space = min(t.space, had.space) // what waits already may be urgent
			}
		}
		l.todo[c.Key] = t
	}
	l.mu.Unlock()
	l.poke()
}

// Again has a row of the table be made so once more: the world may have
// changed, whoever did it. Where it is as it should be, an Output does nothing.
// What was refused is tried again when that is due.
func (l *Loop[T, R]) Again(row T) {
	key := row.Key()
	l.mu.Lock()
	defer l.mu.Unlock()
	t, waits := l.todo[key]
	if waits && key != l.trying { // which saw the world as it was before
		return
	}
	if !waits {
		if t = (task[T]{row: row}); l.turn != nil {
			t.turn = l.turn(row)
		}
	}
	l.asked++
	t.since = l.asked
	t.due, t.again = l.again[key].Add(againEvery), true
	t.version++
	l.todo[key] = t
	l.poke()
}

func (l *Loop[T, R]) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Run works until ctx ends. It may be called again when it has returned, and
// goes on where it was, as long as nobody else has worked on the same world:
// what was refused is tried at once.
func (l *Loop[T, R]) Run(ctx context.Context) {
	l.retry()
	timer := time.NewTimer(0)
	defer timer.Stop()
	prunes := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		case <-timer.C:
		}
		if !l.pruned {
			keys, synced := l.wanted()
			if !synced {
				continue
			}
			if err := l.output.Prune(ctx, keys); err != nil {
				wait := backoff(prunes)
				prunes++
				l.log.Warn("prune", "error", err, "retry", wait)
				timer.Reset(wait)
				continue
			}
			l.pruned = true
		}
		next, ok := l.work(ctx)
		if ok {
			timer.Reset(time.Until(next))
		}
		if ctx.Err() == nil {
			l.pass.Do(func() { close(l.passed) })
		}
	}
}

// retry has all be due that was refused: for a reason that may be gone.
func (l *Loop[T, R]) retry() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, t := range l.todo {
		if t.tries > 0 {
			t.due, t.tries = time.Time{}, 0
			l.todo[key] = t
		}
	}
}

// wanted are the keys of all rows, while nothing has been done yet.
func (l *Loop[T, R]) wanted() (keys []string, synced bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, t := range l.todo {
		if !t.deleted {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys, l.synced
}

// work does what is due, some of it where rows take turns, and tells when the
// next task is.
func (l *Loop[T, R]) work(ctx context.Context) (next time.Time, ok bool) {
	looked := time.Now()
	due := l.due()
	began := time.Now()
	long := max(turnsEvery, 10*began.Sub(looked)) // to look costs a tenth at most
	for i, key := range due {
		if ctx.Err() != nil {
			return time.Time{}, false
		}
		if l.turn != nil && l.worked && i > 0 && time.Since(began) >= long {
			break
		}
		l.try(ctx, key)
	}
	l.worked = true
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, t := range l.todo {
		if due := l.when(key, t); !ok || due.Before(next) {
			next, ok = due, true
		}
	}
	return next, ok
}

// waiting is a row that is due.
type waiting struct {
	key   string
	order int // 0: before others; 1; 2: it goes
	turn  Turn
	since uint64
}

// due are the rows to be made so now, those first that are to be in the world:
// what takes the place of another is there before that goes.
func (l *Loop[T, R]) due() []string {
	l.mu.Lock()
	now := time.Now()
	maps.DeleteFunc(l.again, func(_ string, tried time.Time) bool { return now.Sub(tried) >= againEvery })
	var due []waiting
	for key, t := range l.todo {
		if l.when(key, t).After(now) {
			continue
		}
		w := waiting{key: key, order: 1, turn: t.turn, since: t.since}
		switch {
		case t.deleted:
			w.order = 2
		case l.before != nil && l.before(t.row):
			w.order = 0
		}
		due = append(due, w)
	}
	l.mu.Unlock()
	if l.turn != nil {
		return turns(due, l.served)
	}
	slices.SortFunc(due, func(a, b waiting) int { return cmp.Or(a.order-b.order, strings.Compare(a.key, b.key)) })
	out := make([]string, len(due))
	for i, w := range due {
		out[i] = w.key
	}
	return out
}

// try makes one row so, and puts it off if the world refuses.
func (l *Loop[T, R]) try(ctx context.Context, key string) {
	l.mu.Lock()
	t, ok := l.todo[key]
	if !ok {
		l.mu.Unlock()
		return
	}
	l.served = t.turn.Tenant
	if l.trying = key; t.again {
		l.again[key] = time.Now()
	}
	l.mu.Unlock()
	out := Outcome[R]{RowKey: key, Deleted: t.deleted}
	if t.deleted {
		out.Err = l.output.Delete(ctx, key)
	} else {
		out.Result, out.Err = l.output.Update(ctx, t.row)
	}

	l.mu.Lock()
	l.trying = ""
	if out.Err == nil {
		l.done(key, t.deleted)
	}
	if now := l.todo[key]; now.version == t.version {
		if out.Err == nil {
			delete(l.todo, key)
		} else {
			t.due, t.since = time.Now().Add(backoff(t.tries)), l.asked
			t.tries++
			l.todo[key] = t
		}
	}
	l.mu.Unlock()
	if out.Err != nil && t.tries == 1 {
		l.log.Warn("reconcile", "row", key, "error", out.Err)
	}
	l.outcome(out)
}

// when a row is to be made so, with the lock held.
func (l *Loop[T, R]) when(key string, t task[T]) time.Time {
	if t.space == 0 || t.tries > 0 {
		return t.due
	}
	return l.last[key].Add(t.space)
}

// done takes note of when a row was made so, with the lock held.
func (l *Loop[T, R]) done(key string, deleted bool) {
	switch {
	case l.spacing == nil:
	case deleted:
		delete(l.last, key)
	default:
		l.last[key] = time.Now()
	}
}

func backoff(tries int) time.Duration {
	return min(lastBackoff, firstBackoff<<min(tries, 16))
}
