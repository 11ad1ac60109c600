package reconcile

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// turnsEvery is for how long rows are made so, of those that take turns, before
// it is looked what is due meanwhile.
const turnsEvery = 100 * time.Millisecond

// Turn tells which rows wait for each other. The zero value is for all that are
// nobody's.
type Turn struct {
	// Tenant is who is served in turn with others.
	Tenant string
	// Place is where rows may take the place of each other: a row goes after
	// those of its place that were to be there when it was to go.
	Place string
}

// Fair has the tenants of rows take turns: of those that are due, one of each is
// made so before a second of any, and whoever comes meanwhile is next. A tenant
// with few rows does not wait for one with thousands. It is called before Run.
func (l *Loop[T, R]) Fair(turn func(row T) Turn) { l.turn = turn }

// turns are the keys of rows that are due, in an order that is fair, after
// whose turn was the last. What is to go comes later where its place waits for
// rows that are to be there.
func turns(due []waiting, served string) (out []string) {
	waits := map[string]uint64{} // by place, since when
	for _, w := range due {
		if since, ok := waits[w.turn.Place]; w.order != 2 && (!ok || w.since < since) {
			waits[w.turn.Place] = w.since
		}
	}
	due = slices.DeleteFunc(due, func(w waiting) bool {
		since, ok := waits[w.turn.Place]
		return w.order == 2 && ok && since <= w.since
	})
	slices.SortFunc(due, func(a, b waiting) int {
		return cmp.Or(min(a.order, 1)-min(b.order, 1), cmp.Compare(a.since, b.since), a.order-b.order, strings.Compare(a.key, b.key))
	})
	lines := map[string][]string{} // by tenant
	for _, w := range due {
		lines[w.turn.Tenant] = append(lines[w.turn.Tenant], w.key)
	}
	tenants := slices.Sorted(maps.Keys(lines))
	next, found := slices.BinarySearch(tenants, served)
	if found {
		next++
	}
	tenants = slices.Concat(tenants[next:], tenants[:next])
	for len(tenants) > 0 {
		tenants = slices.DeleteFunc(tenants, func(tenant string) bool {
			line := lines[tenant]
			out, lines[tenant] = append(out, line[0]), line[1:]
			return len(line) == 1
		})
	}
	return out
}
