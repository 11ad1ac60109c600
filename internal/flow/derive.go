package flow

import (
	"io"
	"maps"
	"slices"
)

// derived computes the rows of out from the rows of in.
type derived[I, O Row] struct {
	graph       *Graph
	in          *Table[I]
	out         *Table[O]
	f           func(*Reader, I) []O
	position    int
	dirty       map[string]struct{}
	reads       map[string][]read
	made        map[string][]string // input key to the output keys it makes
	makers      map[string][]string // output key to the inputs that make it, sorted
	evaluations uint64
}

// Derive adds a table whose rows are f of each row of in. f must depend only
// on its arguments and on what it reads through the Reader. Two rows that f
// makes, of one input or of two, must not have one key: Commit says so.
func Derive[I, O Row](g *Graph, name string, in *Table[I], equal func(a, b O) bool, f func(*Reader, I) []O) *Table[O] {
	d := &derived[I, O]{
		graph: g, in: in, f: f,
		dirty:  map[string]struct{}{},
		reads:  map[string][]read{},
		made:   map[string][]string{},
		makers: map[string][]string{},
	}
	in.next = append(in.next, d.mark)
	d.position = g.add(d)
	d.out = NewTable(g, name, equal)
	return d.out
}

func (d *derived[I, O]) mark(key string) { d.dirty[key] = struct{}{} }

// run evaluates until nothing is dirty: where two inputs claimed one output
// key, the end of the first's claim makes the second's turn.
func (d *derived[I, O]) run() {
	for len(d.dirty) > 0 {
		batch := slices.Sorted(maps.Keys(d.dirty))
		d.dirty = emptied(d.dirty)
		for _, key := range batch {
			d.eval(key)
		}
	}
}

// eval runs the function for one input row and files what it made.
func (d *derived[I, O]) eval(key string) {
	d.evaluations++
	r := &Reader{self: reader{d, key}, table: d.out.name, position: d.position}
	var rows []O
	if row, ok := d.in.rows[key]; ok {
		rows = d.f(r, row)
	}
	r.forget(d.reads[key])
	if d.reads[key] = r.reads; len(r.reads) == 0 {
		delete(d.reads, key)
	}

	before := d.made[key]
	fresh := make(map[string]struct{}, len(rows))
	for _, row := range rows {
		k := row.Key()
		if _, twice := fresh[k]; twice {
			d.graph.conflict(d.out.name, k)
			continue
		}
		fresh[k] = struct{}{}
		d.claim(key, row)
	}
	for _, k := range before {
		if _, still := fresh[k]; !still {
			d.disclaim(key, k)
		}
	}
	if d.made[key] = slices.Sorted(maps.Keys(fresh)); len(fresh) == 0 {
		delete(d.made, key)
	}
}

// claim notes that the input makes row, and sets it unless an earlier input,
// by key, makes one of the same key.
func (d *derived[I, O]) claim(input string, row O) {
	key := row.Key()
	makers := d.makers[key]
	at, found := slices.BinarySearch(makers, input)
	if !found {
		makers = slices.Insert(makers, at, input)
		d.makers[key] = makers
	}
	if len(makers) > 1 {
		d.graph.conflict(d.out.name, key)
	}
	if at == 0 {
		d.out.Set(row)
	}
}

// disclaim notes that the input makes the key no more. The next that does is
// asked again for its row.
func (d *derived[I, O]) disclaim(input, key string) {
	makers := d.makers[key]
	at, found := slices.BinarySearch(makers, input)
	if !found {
		return
	}
	if len(makers) == 1 {
		delete(d.makers, key)
		d.out.Delete(key)
		return
	}
	d.makers[key] = slices.Delete(makers, at, at+1)
	if at == 0 {
		d.mark(d.makers[key][0])
	}
}

func (d *derived[I, O]) flush() {}

func (d *derived[I, O]) stats() Stats {
	return Stats{Table: "making " + d.out.name, Evaluations: d.evaluations}
}

func (d *derived[I, O]) dump(io.Writer) {}
