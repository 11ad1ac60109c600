package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waggle-mesh/waggle/internal/flow"
)

type row struct{ key, value string }

func (r row) Key() string { return r.key }

// world is an Output that refuses when told to.
type world struct {
	mu       sync.Mutex // held by the Loop in calls, and by the test between them
	rows     map[string]string
	refuse   func(what string) error
	takes    time.Duration // each try
	calls    []string
	outcomes map[string]Outcome[int]
}

func (w *world) call(what string) error {
	w.calls = append(w.calls, what)
	if w.refuse != nil {
		return w.refuse(what)
	}
	return nil
}

func (w *world) Update(_ context.Context, r row) (int, error) {
	time.Sleep(w.takes)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.call("update " + r.key); err != nil {
		return 0, err
	}
	w.rows[r.key] = r.value
	return len(r.value), nil
}

func (w *world) Delete(_ context.Context, key string) error {
	time.Sleep(w.takes)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.call("delete " + key); err != nil {
		return err
	}
	delete(w.rows, key)
	return nil
}

func (w *world) Prune(_ context.Context, keys []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.call("prune"); err != nil {
		return err
	}
	maps.DeleteFunc(w.rows, func(k, _ string) bool { return !slices.Contains(keys, k) })
	return nil
}

// run starts a Loop over w inside a synctest bubble. The test holds w but
// while it waits in the returned function, which commits and lets time pass.
func run(t *testing.T, w *world, with ...func(*Loop[row, int])) (table *flow.Table[row], commit func(time.Duration)) {
	w.outcomes = map[string]Outcome[int]{}
	l := New(w, slog.New(slog.DiscardHandler), func(o Outcome[int]) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.outcomes[o.RowKey] = o
	})
	for _, change := range with {
		change(l)
	}
	g := &flow.Graph{}
	table = flow.NewTable(g, "rows", func(a, b row) bool { return a == b })
	table.OnChange(l.Changed)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	w.mu.Lock()
	t.Cleanup(w.mu.Unlock)
	go l.Run(ctx)
	return table, func(pass time.Duration) {
		g.Commit()
		w.mu.Unlock()
		l.Synced()
		time.Sleep(pass)
		synctest.Wait()
		w.mu.Lock()
	}
}

func TestWorldBecomesLikeTheRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{rows: map[string]string{"left": "over", "a": "old"}}
		table, commit := run(t, w)
		table.Set(row{"a", "new"})
		table.Set(row{"b", "1"})
		commit(0)
		if want := map[string]string{"a": "new", "b": "1"}; !maps.Equal(w.rows, want) {
			t.Errorf("world %v, want %v", w.rows, want)
		}
		if o := w.outcomes["a"]; o.Err != nil || o.Result != 3 {
			t.Errorf("outcome of a: %+v", o)
		}
		table.Delete("a")
		commit(0)
		if want := map[string]string{"b": "1"}; !maps.Equal(w.rows, want) {
			t.Errorf("world %v, want %v", w.rows, want)
		}
		if !w.outcomes["a"].Deleted {
			t.Errorf("outcome of a: %+v", w.outcomes["a"])
		}
		if want := []string{"prune", "update a", "update b", "delete a"}; !slices.Equal(w.calls, want) {
			t.Errorf("calls %v, want %v", w.calls, want)
		}
	})
}

// TestFirst: what others give up is there before they do.
func TestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{rows: map[string]string{}}
		table, commit := run(t, w, func(l *Loop[row, int]) { l.First(func(r row) bool { return r.value == "part" }) })
		table.Set(row{"a", "whole"})
		commit(0)
		table.Set(row{"a", "less"})
		table.Set(row{"b", "part"})
		commit(0)
		if want := []string{"prune", "update a", "update b", "update a"}; !slices.Equal(w.calls, want) {
			t.Errorf("calls %v, want %v", w.calls, want)
		}
	})
}

// TestOneRefusedRow is tried again and again, later and later, and holds up
// no other.
func TestOneRefusedRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := errors.New("disk full")
		w := &world{rows: map[string]string{}, refuse: func(what string) error {
			if what == "update a" {
				return refused
			}
			return nil
		}}
		table, commit := run(t, w)
		table.Set(row{"a", "1"})
		table.Set(row{"b", "1"})
		commit(0)
		if w.rows["b"] != "1" || !errors.Is(w.outcomes["a"].Err, refused) {
			t.Fatalf("world %v, outcome of a %+v", w.rows, w.outcomes["a"])
		}
		commit(time.Minute)
		if n := len(w.calls); n < 9 || n > 14 {
			t.Errorf("%d calls in a minute of refusals: %v", n, w.calls)
		}
		w.refuse = nil
		commit(lastBackoff)
		if w.rows["a"] != "1" || w.outcomes["a"].Err != nil {
			t.Errorf("world %v, outcome of a %+v", w.rows, w.outcomes["a"])
		}
		calls := len(w.calls)
		commit(time.Hour)
		if len(w.calls) != calls {
			t.Errorf("idle and made %d calls", len(w.calls)-calls)
		}
	})
}

// TestPruneIsRetried before anything is updated.
func TestPruneIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failures := 2
		w := &world{rows: map[string]string{"left": "over"}, refuse: func(what string) error {
			if what == "prune" && failures > 0 {
				failures--
				return errors.New("not now")
			}
			return nil
		}}
		table, commit := run(t, w)
		table.Set(row{"a", "1"})
		commit(0)
		commit(time.Second)
		if want := []string{"prune", "prune", "prune", "update a"}; !slices.Equal(w.calls, want) {
			t.Errorf("calls %v, want %v", w.calls, want)
		}
	})
}

// TestAnyHistory: whatever is edited and whatever is refused in between, the
// world ends like the rows.
func TestAnyHistory(t *testing.T) {
	for seed := range int64(30) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewSource(seed))
			w := &world{rows: map[string]string{"x": "left over"}, refuse: func(string) error {
				if r.Intn(10) == 0 {
					return errors.New("one in ten")
				}
				return nil
			}}
			table, commit := run(t, w)
			for range 300 {
				key := fmt.Sprint("k", r.Intn(8))
				if r.Intn(3) == 0 {
					table.Delete(key)
				} else {
					table.Set(row{key, fmt.Sprint(r.Intn(3))})
				}
				if r.Intn(3) == 0 {
					commit(0)
				}
				if r.Intn(5) == 0 {
					commit(time.Duration(r.Intn(200)) * time.Millisecond)
				}
			}
			commit(0)
			commit(10 * time.Minute)
			want := map[string]string{}
			for _, row := range table.All() {
				want[row.key] = row.value
			}
			if !maps.Equal(w.rows, want) {
				t.Errorf("seed %d: world %v, want %v", seed, w.rows, want)
			}
		})
	}
}

// TestNothingHappensBeforeTheFeedsHaveSynced, and then what was left over goes
// even if there is no row.
func TestNothingHappensBeforeTheFeedsHaveSynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{rows: map[string]string{"left": "over"}}
		l := New(w, slog.New(slog.DiscardHandler), func(Outcome[int]) {})
		go l.Run(t.Context())
		l.Changed([]flow.Change[row]{{Key: "a", New: row{"a", "1"}, HasNew: true}})
		l.Changed([]flow.Change[row]{{Key: "a", Old: row{"a", "1"}, HadOld: true}})
		time.Sleep(time.Hour)
		synctest.Wait()
		w.mu.Lock()
		if len(w.calls) != 0 {
			t.Errorf("calls before Synced: %v", w.calls)
		}
		w.mu.Unlock()
		l.Synced()
		synctest.Wait()
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.rows) != 0 {
			t.Errorf("world %v, want nothing", w.rows)
		}
	})
}

// TestRunAgain: who may not work for a while goes on where it was. What was
// refused is tried at once, what changed meanwhile is done, and nothing that is
// as it should be.
func TestRunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{rows: map[string]string{}}
		l := New(w, slog.New(slog.DiscardHandler), func(Outcome[int]) {})
		l.Synced()
		term := func(long time.Duration) {
			ctx, stop := context.WithTimeout(t.Context(), long)
			defer stop()
			l.Run(ctx)
		}
		set := func(key, value string) {
			l.Changed([]flow.Change[row]{{Key: key, New: row{key, value}, HasNew: true}})
		}
		set("a", "1")
		set("b", "1")
		w.refuse = func(what string) error {
			if what == "update b" {
				return errors.New("away")
			}
			return nil
		}
		term(10 * time.Second)
		<-l.Passed()
		w.refuse, w.calls = nil, nil
		set("c", "1")
		l.Changed([]flow.Change[row]{{Key: "a", Old: row{"a", "1"}, HadOld: true}})
		time.Sleep(time.Second)
		if len(w.calls) > 0 {
			t.Errorf("calls %v while it does not run", w.calls)
		}
		term(time.Millisecond)
		if want := []string{"update b", "update c", "delete a"}; !slices.Equal(w.calls, want) {
			t.Errorf("calls %v, want %v", w.calls, want)
		}
		term(time.Minute)
		if len(w.calls) > 3 {
			t.Errorf("calls %v, and there was nothing to do", w.calls)
		}
	})
}

// TestComesBeforeWhatGoes: a row that takes the place of another is in the
// world before the other is out of it.
func TestComesBeforeWhatGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{rows: map[string]string{}}
		table, commit := run(t, w)
		table.Set(row{"a", "1"})
		commit(0)
		w.calls = nil
		table.Delete("a")
		table.Set(row{"b", "1"})
		commit(0)
		if want := []string{"update b", "delete a"}; !slices.Equal(w.calls, want) {
			t.Errorf("calls %v, want %v", w.calls, want)
		}
	})
}

// TestSpace: changes that can wait are written together; one that cannot is
// written at once, with all that waited.
func TestSpace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{rows: map[string]string{}}
		table, commit := run(t, w, func(l *Loop[row, int]) {
			l.Space(func(_, after row) time.Duration {
				if after.value == "urgent" {
					return 0
				}
				return time.Second
			})
		})
		table.Set(row{"a", "0"})
		commit(2 * time.Second)
		table.Set(row{"a", "1"})
		commit(0)
		if w.rows["a"] != "1" {
			t.Errorf("after a long time: %v", w.rows)
		}
		for i := range 9 {
			table.Set(row{"a", fmt.Sprint(i)})
			commit(100 * time.Millisecond)
		}
		if w.rows["a"] != "1" || len(w.calls) != 3 {
			t.Errorf("soon after: %v, calls %v", w.rows, w.calls)
		}
		commit(200 * time.Millisecond)
		if w.rows["a"] != "8" || len(w.calls) != 4 {
			t.Errorf("after a second: %v, calls %v", w.rows, w.calls)
		}
		table.Set(row{"a", "urgent"})
		commit(0)
		table.Set(row{"a", "9"})
		commit(0)
		if w.rows["a"] != "urgent" {
			t.Errorf("what is urgent: %v", w.rows)
		}
		commit(time.Second)
		if w.rows["a"] != "9" {
			t.Errorf("what came after: %v", w.rows)
		}
	})
}

// TestSpaceWhileWritten: what changes while it is being written counts as
// changed soon after.
func TestSpaceWhileWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{rows: map[string]string{}}
		var loop *Loop[row, int]
		table, commit := run(t, w, func(l *Loop[row, int]) {
			loop = l
			l.Space(func(_, _ row) time.Duration { return time.Second })
		})
		table.Set(row{"a", "0"})
		commit(2 * time.Second)
		w.calls = nil
		w.refuse = func(string) error {
			w.refuse = nil
			loop.Changed([]flow.Change[row]{{Key: "a", Old: row{"a", "1"}, New: row{"a", "2"}, HadOld: true, HasNew: true}})
			return nil
		}
		table.Set(row{"a", "1"})
		commit(900 * time.Millisecond)
		if w.rows["a"] != "1" || len(w.calls) != 1 {
			t.Errorf("soon after: %v, calls %v", w.rows, w.calls)
		}
		commit(200 * time.Millisecond)
		if w.rows["a"] != "2" || len(w.calls) != 2 {
			t.Errorf("after a second: %v, calls %v", w.rows, w.calls)
		}
	})
}

// TestAgain: what somebody else changes is mended at once; one who insists is
// answered once a second; and a row is tried once more if the world changed
// while it was being tried.
func TestAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{rows: map[string]string{}}
		var loop *Loop[row, int]
		table, commit := run(t, w, func(l *Loop[row, int]) { loop = l })
		a := row{"a", "1"}
		table.Set(a)
		commit(time.Second)
		w.rows["a"] = "another's"
		loop.Again(a)
		commit(0)
		if w.rows["a"] != "1" {
			t.Errorf("mended at once: %v", w.rows)
		}
		w.calls = nil
		for range 30 {
			w.rows["a"] = "another's"
			loop.Again(a)
			commit(100 * time.Millisecond)
		}
		if len(w.calls) < 2 || len(w.calls) > 4 {
			t.Errorf("%d tries in 3 s against one who insists", len(w.calls))
		}
		commit(time.Minute)
		w.calls = nil
		w.refuse = func(string) error {
			w.refuse = nil
			loop.Again(a)
			return nil
		}
		loop.Again(a)
		commit(2 * time.Second)
		if len(w.calls) != 2 {
			t.Errorf("the world changed during a try: %v", w.calls)
		}
	})
}

// TestAgainIsNotUrgent: what somebody else does hurries no change that can
// wait, and no row that was refused.
func TestAgainIsNotUrgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{rows: map[string]string{}}
		var loop *Loop[row, int]
		table, commit := run(t, w, func(l *Loop[row, int]) {
			loop = l
			l.Space(func(_, _ row) time.Duration { return 2 * time.Second })
		})
		table.Set(row{"a", "0"})
		commit(10 * time.Second)
		table.Set(row{"a", "1"})
		commit(0)
		loop.Again(row{"a", "1"})
		commit(0)
		loop.Again(row{"a", "1"})
		table.Set(row{"a", "2"})
		commit(1500 * time.Millisecond)
		loop.Again(row{"a", "2"})
		commit(0)
		if w.rows["a"] != "1" {
			t.Errorf("what can wait is written at once: %v", w.calls)
		}
		w.refuse = func(string) error { return errors.New("no") }
		commit(10 * time.Second)
		w.calls = nil
		for range 1000 {
			loop.Again(row{"a", "2"})
			commit(time.Millisecond)
		}
		if len(w.calls) > 2 {
			t.Errorf("%d tries in a second of what was refused for long", len(w.calls))
		}
	})
}

// TestYield: what was there at the start is made so at once, what changes later
// after a while, once, however often it changes meanwhile; a refusal does not
// make it wait longer.
func TestYield(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{rows: map[string]string{}}
		table, commit := run(t, w, func(l *Loop[row, int]) { l.Yield(50 * time.Millisecond) })
		table.Set(row{"a", "0"})
		commit(0)
		if w.rows["a"] != "0" {
			t.Errorf("at the start: %v", w.rows)
		}
		w.calls = nil
		for i := range 5 {
			table.Set(row{"a", fmt.Sprint(i + 1)})
			commit(10*time.Millisecond - time.Nanosecond)
			if w.rows["a"] != "0" {
				t.Errorf("after %d changes: %v", i+1, w.rows)
			}
		}
		commit(time.Millisecond)
		if w.rows["a"] != "5" || len(w.calls) != 1 {
			t.Errorf("after the while: %v, calls %v", w.rows, w.calls)
		}
		w.refuse = func(string) error { return errors.New("away") }
		table.Set(row{"a", "6"})
		commit(20 * time.Second) // refused often
		w.refuse = nil
		table.Set(row{"a", "7"})
		commit(50 * time.Millisecond)
		if w.rows["a"] != "7" {
			t.Errorf("changed after refusals: %v", w.rows)
		}
		table.Delete("a")
		commit(0)
		if len(w.rows) != 0 {
			t.Errorf("deleted: %v", w.rows)
		}
	})
}

// TestLinger: what is in no row any more goes later, and not at all if it comes
// back.
func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{rows: map[string]string{}}
		table, commit := run(t, w, func(l *Loop[row, int]) { l.Linger(time.Minute) })
		table.Set(row{"a", "1"})
		table.Set(row{"b", "1"})
		commit(0)
		table.Delete("a")
		table.Delete("b")
		commit(59 * time.Second)
		if len(w.rows) != 2 {
			t.Errorf("before its time: %v", w.rows)
		}
		table.Set(row{"b", "2"})
		commit(2 * time.Second)
		if want := map[string]string{"b": "2"}; !maps.Equal(w.rows, want) {
			t.Errorf("after its time: %v", w.rows)
		}
	})
}
