package flow

import (
	"fmt"
	"slices"
)

// reader names one evaluation of one derived table.
type reader struct {
	node marker
	key  string
}

type marker interface{ mark(key string) }

// readers are the evaluations that read each key of a table or an index.
// Most keys have one reader or two, which a list holds in a sixth of the
// memory that a map takes.
type readers struct{ of map[string]audience }

func newReaders() *readers { return &readers{map[string]audience{}} }

// audience is a list up to a few readers, and a map beyond.
type audience struct {
	list []reader
	set  map[reader]struct{}
}

const fewReaders = 8

// mark makes everyone who read key run again.
func (rs *readers) mark(key string) {
	a := rs.of[key]
	for _, r := range a.list {
		r.node.mark(r.key)
	}
	for r := range a.set {
		r.node.mark(r.key)
	}
}

func (rs *readers) add(key string, r reader) {
	a := rs.of[key]
	switch {
	case a.set != nil:
		a.set[r] = struct{}{}
		return
	case slices.Contains(a.list, r):
		return
	case len(a.list) < fewReaders:
		a.list = append(a.list, r)
	default:
		a.set = map[reader]struct{}{r: {}}
		for _, other := range a.list {
			a.set[other] = struct{}{}
		}
		a.list = nil
	}
	rs.of[key] = a
}

func (rs *readers) forget(key string, r reader) {
	a := rs.of[key]
	delete(a.set, r)
	if at := slices.Index(a.list, r); at >= 0 {
		a.list = slices.Delete(a.list, at, at+1)
		rs.of[key] = a
	}
	if len(a.list)+len(a.set) == 0 {
		delete(rs.of, key)
	}
}

// read is one thing that an evaluation looked at, by whose readers it is among:
// a table's, an index's or those of its numbers.
type read struct {
	from *readers
	key  string
}

// A Reader gives a derived row's function access to other tables, and
// remembers what it looked at. It is of no use after the function returns.
type Reader struct {
	self     reader
	table    string
	position int
	reads    []read
	seen     map[read]struct{} // used beyond a few reads
}

// Get returns the row of t with the given key.
func Get[T Row](r *Reader, t *Table[T], key string) (row T, ok bool) {
	r.note(t.name, t.position, t.readers, key)
	row, ok = t.rows[key]
	return row, ok
}

// Select returns the rows filed under key in ix, in key order.
func Select[T Row](r *Reader, ix *Index[T], key string) []T {
	r.note(ix.table.name, ix.table.position, ix.readers, key)
	out := make([]T, 0, len(ix.rows[key]))
	for _, k := range ix.rows[key] {
		out = append(out, ix.table.rows[k])
	}
	return out
}

// First returns the first row, by key, filed under key in ix.
func First[T Row](r *Reader, ix *Index[T], key string) (row T, ok bool) {
	r.note(ix.table.name, ix.table.position, ix.readers, key)
	if keys := ix.rows[key]; len(keys) > 0 {
		return ix.table.rows[keys[0]], true
	}
	return row, false
}

// Count returns the number of rows filed under key in ix. A change of a row
// that stays under the key does not make the reader run again.
func Count[T Row](r *Reader, ix *Index[T], key string) int {
	r.note(ix.table.name, ix.table.position, ix.counts, key)
	return len(ix.rows[key])
}

func (r *Reader) note(table string, position int, from *readers, key string) {
	if position >= r.position {
		panic(fmt.Sprintf("flow: table %s reads table %s, which is made after it", r.table, table))
	}
	rd := read{from, key}
	if r.noted(rd) {
		return
	}
	r.reads = append(r.reads, rd)
	from.add(key, r.self)
}

// noted tells whether the evaluation has looked there already, and remembers
// that it has.
func (r *Reader) noted(rd read) bool {
	const few = 8
	if r.seen == nil && len(r.reads) < few {
		return slices.Contains(r.reads, rd)
	}
	if r.seen == nil {
		r.seen = map[read]struct{}{}
		for _, earlier := range r.reads {
			r.seen[earlier] = struct{}{}
		}
	}
	if _, ok := r.seen[rd]; ok {
		return true
	}
	r.seen[rd] = struct{}{}
	return false
}

// forget takes back what earlier evaluations of r's row noted and this one
// did not.
func (r *Reader) forget(before []read) {
	for _, rd := range before {
		if !r.noted(rd) {
			rd.from.forget(rd.key, r.self)
		}
	}
}
