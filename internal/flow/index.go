package flow

import (
	"fmt"
	"io"
	"slices"
)

// An Index groups the rows of a table under zero or more keys per row.
type Index[T Row] struct {
	table    *Table[T]
	keys     func(T) []string
	rows     map[string][]string // index key to sorted row keys
	readers  *readers            // of the rows under a key
	counts   *readers            // of the number of rows under a key
	distinct *keys
}

// NewIndex adds an index to t, which must be empty still. keys must depend
// on the row alone.
func NewIndex[T Row](t *Table[T], keys func(T) []string) *Index[T] {
	if len(t.rows) > 0 {
		panic(fmt.Sprintf("flow: index on table %s, which has rows", t.name))
	}
	ix := &Index[T]{table: t, keys: keys, rows: map[string][]string{}, readers: newReaders(), counts: newReaders()}
	t.indexes = append(t.indexes, ix)
	return ix
}

// update files a change of the table.
func (ix *Index[T]) update(c Change[T]) {
	var before, after []string
	if c.HadOld {
		before = ix.keys(c.Old)
	}
	if c.HasNew {
		after = ix.keys(c.New)
	}
	for _, k := range before {
		ix.readers.mark(k)
		if !slices.Contains(after, k) {
			ix.remove(k, c.Key)
		}
	}
	for _, k := range after {
		ix.readers.mark(k)
		ix.insert(k, c.Key)
	}
}

func (ix *Index[T]) insert(key, row string) {
	rows := ix.rows[key]
	at, found := slices.BinarySearch(rows, row)
	if found {
		return
	}
	ix.rows[key] = slices.Insert(rows, at, row)
	ix.counts.mark(key)
	if len(rows) == 0 && ix.distinct != nil {
		ix.distinct.mark(key)
	}
}

func (ix *Index[T]) remove(key, row string) {
	rows := ix.rows[key]
	at, found := slices.BinarySearch(rows, row)
	if !found {
		return
	}
	ix.counts.mark(key)
	if len(rows) > 1 {
		ix.rows[key] = slices.Delete(rows, at, at+1)
		return
	}
	delete(ix.rows, key)
	if ix.distinct != nil {
		ix.distinct.mark(key)
	}
}

// Len reports the number of rows under key. Functions of derived tables use
// Count, which remembers.
func (ix *Index[T]) Len(key string) int { return len(ix.rows[key]) }

// A KeyRow is one key of an Index that has rows.
type KeyRow string

// Key is the row itself.
func (k KeyRow) Key() string { return string(k) }

// keys keeps the table of an index's distinct keys.
type keys struct {
	out   *Table[KeyRow]
	has   func(key string) bool
	dirty map[string]struct{}
}

// Keys adds a table of the distinct keys of ix, to derive one row per group
// from. It changes only when a group's first row comes or its last row goes.
// An index has at most one.
func Keys[T Row](g *Graph, name string, ix *Index[T]) *Table[KeyRow] {
	if ix.distinct != nil {
		panic(fmt.Sprintf("flow: second table of keys of one index of %s", ix.table.name))
	}
	if len(ix.rows) > 0 {
		panic(fmt.Sprintf("flow: table of keys %s of an index that has rows", name))
	}
	k := &keys{dirty: map[string]struct{}{}, has: func(key string) bool { return len(ix.rows[key]) > 0 }}
	ix.distinct = k
	g.add(k)
	k.out = NewTable(g, name, func(a, b KeyRow) bool { return a == b })
	return k.out
}

func (k *keys) mark(key string) { k.dirty[key] = struct{}{} }

func (k *keys) run() {
	for key := range k.dirty {
		if k.has(key) {
			k.out.Set(KeyRow(key))
		} else {
			k.out.Delete(key)
		}
	}
	k.dirty = emptied(k.dirty)
}

func (k *keys) flush()         {}
func (k *keys) stats() Stats   { return Stats{Table: "keys of " + k.out.name} }
func (k *keys) dump(io.Writer) {}
