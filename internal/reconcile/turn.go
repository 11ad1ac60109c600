package reconcile

import (
	"cmp"
	"maps"
	"slices"
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

// turns puts the rows that are due in an order that is fair, with the lock held.
// What is to go comes later where its place waits for rows that are to be there.
func (l *Loop[T, R]) turns(first, keys, gone []string) (out []string) {
	waits := map[string]uint64{} // by place, since when
	for _, key := range slices.Concat(first, keys) {
		t := l.todo[key]
		if since, ok := waits[t.turn.Place]; !ok || t.since < since {
			waits[t.turn.Place] = t.since
		}
	}
	gone = slices.DeleteFunc(gone, func(key string) bool {
		since, ok := waits[l.todo[key].turn.Place]
		return ok && since <= l.todo[key].since
	})
	rest := slices.Concat(keys, gone)
	slices.SortStableFunc(rest, func(a, b string) int { return cmp.Compare(l.todo[a].since, l.todo[b].since) })
	lines := map[string][]string{} // by tenant
	for _, key := range slices.Concat(first, rest) {
		tenant := l.todo[key].turn.Tenant
		lines[tenant] = append(lines[tenant], key)
	}
	tenants := slices.Sorted(maps.Keys(lines))
	next, found := slices.BinarySearch(tenants, l.served)
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
