package flow

import (
	"fmt"
	"io"
	"maps"
	"slices"
)

// A Table is a set of rows, with indexes kept alongside.
type Table[T Row] struct {
	name     string
	position int // in the graph's order
	rows     map[string]T
	equal    func(a, b T) bool
	readers  *readers
	indexes  []*Index[T]
	next     []func(key string)   // marks rows derived from this one dirty
	changed  map[string]Change[T] // since the last flush
	sinks    []func([]Change[T])
	changes  uint64
}

// A Change is a row before and after a Commit. A row that was not there
// before has no Old; a row that is gone has no New.
type Change[T any] struct {
	Key            string
	Old, New       T
	HadOld, HasNew bool
}

// NewTable adds an input table to g. The name is for people, and no two tables
// have the same; equal tells whether writing b over a changes nothing.
func NewTable[T Row](g *Graph, name string, equal func(a, b T) bool) *Table[T] {
	if g.names[name] {
		panic(fmt.Sprintf("flow: two tables named %s", name))
	}
	if g.names == nil {
		g.names = map[string]bool{}
	}
	g.names[name] = true
	t := &Table[T]{
		name:    name,
		rows:    map[string]T{},
		equal:   equal,
		readers: newReaders(),
		changed: map[string]Change[T]{},
	}
	t.position = g.add(t)
	return t
}

// Set adds or replaces a row. Setting an equal row does nothing.
func (t *Table[T]) Set(row T) { t.set(row.Key(), row) }

// set is Set with the row's key.
func (t *Table[T]) set(key string, row T) {
	old, had := t.rows[key]
	if had && t.equal(old, row) {
		return
	}
	t.put(Change[T]{key, old, row, had, true})
}

// Delete removes the row with the given key, if there is one.
func (t *Table[T]) Delete(key string) {
	if old, had := t.rows[key]; had {
		t.put(Change[T]{Key: key, Old: old, HadOld: true})
	}
}

// Get returns the row with the given key. Functions of derived tables use
// the package's Get, which remembers.
func (t *Table[T]) Get(key string) (row T, ok bool) {
	row, ok = t.rows[key]
	return row, ok
}

// Len reports the number of rows.
func (t *Table[T]) Len() int { return len(t.rows) }

// All returns the rows in key order.
func (t *Table[T]) All() []T {
	out := make([]T, 0, len(t.rows))
	for _, k := range slices.Sorted(maps.Keys(t.rows)) {
		out = append(out, t.rows[k])
	}
	return out
}

// OnChange calls f once per Commit with the rows that changed, in key order.
// f must not write to the graph's tables.
func (t *Table[T]) OnChange(f func([]Change[T])) { t.sinks = append(t.sinks, f) }

func (t *Table[T]) put(c Change[T]) {
	t.changes++
	if c.HasNew {
		t.rows[c.Key] = c.New
	} else {
		delete(t.rows, c.Key)
	}
	t.readers.mark(c.Key)
	for _, ix := range t.indexes {
		ix.update(c)
	}
	for _, mark := range t.next {
		mark(c.Key)
	}
	if first, ok := t.changed[c.Key]; ok {
		c.Old, c.HadOld = first.Old, first.HadOld
	}
	t.changed[c.Key] = c
}

func (t *Table[T]) run() {}

func (t *Table[T]) flush() {
	if len(t.changed) == 0 {
		return
	}
	if out := t.news(); len(out) > 0 {
		for _, f := range t.sinks {
			f(out)
		}
	}
	t.changed = emptied(t.changed)
}

// news is what changed since the last flush, without what changed back.
func (t *Table[T]) news() []Change[T] {
	if len(t.sinks) == 0 {
		return nil
	}
	out := make([]Change[T], 0, len(t.changed))
	for _, k := range slices.Sorted(maps.Keys(t.changed)) {
		c := t.changed[k]
		if !c.HadOld && !c.HasNew || c.HadOld && c.HasNew && t.equal(c.Old, c.New) {
			continue
		}
		out = append(out, c)
	}
	return out
}

func (t *Table[T]) stats() Stats {
	return Stats{Table: t.name, Rows: len(t.rows), Changes: t.changes}
}

func (t *Table[T]) dump(w io.Writer) {
	fmt.Fprintf(w, "%s (%d rows)\n", t.name, len(t.rows))
	for _, row := range t.All() {
		fmt.Fprintf(w, "  %s: %+v\n", row.Key(), row)
	}
}

// emptied is m without its entries. Clearing costs what a map once held, so
// a map that held much is replaced.
func emptied[K comparable, V any](m map[K]V) map[K]V {
	const much = 64
	if len(m) > much {
		return map[K]V{}
	}
	clear(m)
	return m
}
