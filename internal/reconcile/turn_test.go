package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// fair has rows take turns by what their keys begin with: tenant/place/name.
func fair(l *Loop[row, int]) {
	l.Fair(func(r row) Turn {
		parts := strings.Split(r.key, "/")
		return Turn{Tenant: parts[0], Place: parts[1]}
	})
}

// slow is how long a try takes that is a write to the API server.
const slow = 7 * time.Millisecond

// TestOneRowDoesNotWaitForThousands: whoever comes while another's rows are made
// so is next, whatever there is of them, and with many such, each has a turn.
func TestOneRowDoesNotWaitForThousands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{rows: map[string]string{}, takes: slow}
		table, commit := run(t, w, fair)
		commit(0)
		w.calls = nil
		for i := range 1000 {
			table.Set(row{fmt.Sprintf("a/a/%d", i), "1"})
		}
		commit(70 * time.Millisecond)
		for i := range 40 {
			table.Set(row{fmt.Sprintf("b%02d/a/1", i), "1"})
		}
		commit(0)
		for i := range 10 { // a does not stop
			for n := range 1000 {
				table.Set(row{fmt.Sprintf("a/a/%d", n), fmt.Sprint(i)})
			}
			commit(200 * time.Millisecond)
		}
		last := slices.Index(w.calls, "update b39/a/1")
		if last < 0 || last > 100 {
			t.Errorf("the last of 40 is done after %d tries", last)
		}
		commit(time.Minute)
		if len(w.rows) != 1040 || w.rows["a/a/7"] != "9" {
			t.Errorf("%d rows, a/a/7 = %s", len(w.rows), w.rows["a/a/7"])
		}
	})
}

// TestTurnsAndPlaces: a row goes after those that were to be in its place when
// it was to go, whoever's they are, and waits for no others.
func TestTurnsAndPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{rows: map[string]string{}, takes: slow}
		table, commit := run(t, w, fair)
		table.Set(row{"a/shared/old", "1"})
		table.Set(row{"c/own/old", "1"})
		commit(time.Second)
		w.calls = nil
		table.Delete("a/shared/old")
		table.Delete("c/own/old")
		for i := range 100 {
			table.Set(row{fmt.Sprintf("b/shared/%02d", i), "1"})
		}
		commit(50 * time.Millisecond)
		for i := range 100 { // what comes later does not keep it there
			table.Set(row{fmt.Sprintf("b/shared/later%02d", i), "1"})
		}
		commit(time.Minute)
		at := func(call string) int { return slices.Index(w.calls, call) }
		if own := at("delete c/own/old"); own < 0 || own > 1 {
			t.Errorf("what waits for nobody is done after %d tries", own)
		}
		if shared := at("delete a/shared/old"); shared < at("update b/shared/99") || shared > at("update b/shared/later50") {
			t.Errorf("what is replaced goes after %d tries", shared)
		}
	})
}

// TestTurnOfARefusedRow: what is refused keeps nobody from going.
func TestTurnOfARefusedRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{rows: map[string]string{}}
		table, commit := run(t, w, fair)
		table.Set(row{"a/a/old", "1"})
		commit(0)
		w.refuse = func(what string) error {
			if what == "update a/a/bad" {
				return fmt.Errorf("no")
			}
			return nil
		}
		table.Set(row{"a/a/bad", "1"})
		table.Delete("a/a/old")
		commit(0)
		if _, there := w.rows["a/a/old"]; there {
			t.Errorf("calls %v", w.calls)
		}
		w.refuse = nil
		commit(time.Minute)
		if w.rows["a/a/bad"] != "1" {
			t.Errorf("rows %v", w.rows)
		}
	})
}

// TestLookThatIsLong: where it takes longer to look than rows are made so in one
// go, they are made so all the same.
func TestLookThatIsLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{rows: map[string]string{}}
		table, commit := run(t, w, fair, func(l *Loop[row, int]) {
			l.First(func(row) bool { time.Sleep(turnsEvery / 5); return false })
		})
		commit(0)
		for i := range 30 {
			table.Set(row{fmt.Sprintf("a/a/%02d", i), "1"})
		}
		commit(time.Minute)
		if len(w.rows) != 30 {
			t.Errorf("%d of 30 rows are in the world", len(w.rows))
		}
	})
}
