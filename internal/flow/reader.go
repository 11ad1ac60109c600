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
type readers map[string]audience

// audience is a list up to a few readers, and a map beyond.
type audience struct {
	list []reader
	set  map[reader]struct{}
}

const fewReaders = 8

// mark makes everyone who read key run again.
func (rs readers) mark(key string) {
	a := rs[key]
	for _, r := range a.list {
		r.node.mark(r.key)
	}
	for r := range a.set {
		r.node.mark(r.key)
	}
}

func (rs readers) add(key string, r reader) {
	a := rs[key]
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
	rs[key] = a
}

func (rs readers) forget(key string, r reader) {
	a := rs[key]
	delete(a.set, r)
	if at := slices.Index(a.list, r); at >= 0 {
		a.list = slices.Delete(a.list, at, at+1)
		rs[key] = a
	}
	if len(a.list)+len(a.set) == 0 {
		delete(rs, key)
	}
}

// read is one thing that an evaluation looked at. What names the table or
// index it is in.
type read struct {
	what any
	from readers
	key  string
}

// A Reader gives a derived row's function access to other tables, and
// remembers what it looked at. It is of no use after the function returns.
type Reader struct {
	self     reader
	table    string
	position int
	reads    []read
	seen     map[seen]struct{} // used beyond a few reads
}

type seen struct {
	what any
	key  string
}

// Get returns the row of t with the given key.
func Get[T Row](r *Reader, t *Table[T], key string) (row T, ok bool) {
	r.note(t.name, t.position, t, t.readers, key)
	row, ok = t.rows[key]
	return row, ok
}

// Select returns the rows filed under key in ix, in key order.
func Select[T Row](r *Reader, ix *Index[T], key string) []T {
	r.note(ix.table.name, ix.table.position, ix, ix.readers, key)
	out := make([]T, 0, len(ix.rows[key]))
	for _, k := range ix.rows[key] {
		out = append(out, ix.table.rows[k])
	}
	return out
}

// First returns the first row, by key, filed under key in ix.
func First[T Row](r *Reader, ix *Index[T], key string) (row T, ok bool) {
	r.note(ix.table.name, ix.table.position, ix, ix.readers, key)
	if keys := ix.rows[key]; len(keys) > 0 {
		return ix.table.rows[keys[0]], true
	}
	return row, false
}

// Count returns the number of rows filed under key in ix. A change of a row
// that stays under the key does not make the reader run again.
func Count[T Row](r *Reader, ix *Index[T], key string) int {
	r.note(ix.table.name, ix.table.position, &ix.counts, ix.counts, key)
	return len(ix.rows[key])
}

func (r *Reader) note(table string, position int, what any, from readers, key string) {
	if position >= r.position {
		panic(fmt.Sprintf("flow: table %s reads table %s, which is made after it", r.table, table))
	}
	if r.noted(what, key) {
		return
	}
	r.reads = append(r.reads, read{what, from, key})
	from.add(key, r.self)
}

// noted tells whether the evaluation has looked at key already, and
// remembers that it has.
func (r *Reader) noted(what any, key string) bool {
	const few = 8
	if r.seen == nil && len(r.reads) < few {
		return slices.ContainsFunc(r.reads, func(rd read) bool { return rd.what == what && rd.key == key })
	}
	if r.seen == nil {
		r.seen = map[seen]struct{}{}
		for _, rd := range r.reads {
			r.seen[seen{rd.what, rd.key}] = struct{}{}
		}
	}
	if _, ok := r.seen[seen{what, key}]; ok {
		return true
	}
	r.seen[seen{what, key}] = struct{}{}
	return false
}

// forget takes back what earlier evaluations of r's row noted and this one
// did not.
func (r *Reader) forget(before []read) {
	for _, rd := range before {
		if !r.noted(rd.what, rd.key) {
			rd.from.forget(rd.key, r.self)
		}
	}
}
