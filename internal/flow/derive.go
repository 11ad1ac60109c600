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
	made        map[string][]string // input key to the output keys it makes, sorted
	maker       map[string]string   // output key to the first input that makes it
	rivals      map[string][]string // output key to the other inputs that do, sorted
	evaluations uint64
}

// Most tables have a row for each row of the table that they are made from, of
// the same key. Such a pair is neither in made nor in maker: that the row is
// there says as much.

// madeBy gives the output keys that an input makes, sorted.
func (d *derived[I, O]) madeBy(input string) []string {
	if made, ok := d.made[input]; ok {
		return made
	}
	if first, ok := d.makerOf(input); ok && first == input {
		return []string{input}
	}
	return nil
}

// makerOf gives the first input that makes an output key.
func (d *derived[I, O]) makerOf(key string) (input string, ok bool) {
	if input, ok = d.maker[key]; ok {
		return input, true
	}
	_, ok = d.out.rows[key]
	return key, ok
}

func (d *derived[I, O]) setMaker(key, input string) {
	if input == key {
		delete(d.maker, key)
	} else {
		d.maker[key] = input
	}
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
		maker:  map[string]string{},
		rivals: map[string][]string{},
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

	before := d.madeBy(key)
	made := make([]string, 0, len(rows))
	for _, row := range rows {
		k := row.Key()
		if k == key {
			k = key // one text for both tables
		}
		at, twice := slices.BinarySearch(made, k)
		if twice {
			d.graph.conflict(d.out.name, k)
			continue
		}
		made = slices.Insert(made, at, k)
		d.claim(key, k, row)
	}
	for _, k := range before {
		if _, still := slices.BinarySearch(made, k); !still {
			d.disclaim(key, k)
		}
	}
	switch maker, _ := d.makerOf(key); {
	case len(made) == 0, len(made) == 1 && made[0] == key && maker == key:
		delete(d.made, key)
	case !slices.Equal(before, made): // else the strings that are kept already
		d.made[key] = made
	}
}

// claim notes that the input makes row, and sets it unless an earlier input,
// by key, makes one of the same key.
func (d *derived[I, O]) claim(input, key string, row O) {
	first, taken := d.makerOf(key)
	switch {
	case !taken:
		d.setMaker(key, input)
	case input < first:
		d.setMaker(key, input)
		if _, said := d.made[first]; !said {
			d.made[first] = []string{key}
		}
		d.rivals[key] = slices.Insert(d.rivals[key], 0, first)
	case input > first:
		rivals := d.rivals[key]
		if at, found := slices.BinarySearch(rivals, input); !found {
			d.rivals[key] = slices.Insert(rivals, at, input)
		}
	}
	if len(d.rivals[key]) > 0 {
		d.graph.conflict(d.out.name, key)
	}
	if !taken || input <= first {
		d.out.set(key, row)
	}
}

// disclaim notes that the input makes the key no more. The next that does is
// asked again for its row.
func (d *derived[I, O]) disclaim(input, key string) {
	rivals := d.rivals[key]
	first, _ := d.makerOf(key)
	switch at, found := slices.BinarySearch(rivals, input); {
	case found:
		rivals = slices.Delete(rivals, at, at+1)
	case first != input:
		return
	case len(rivals) == 0:
		delete(d.maker, key)
		d.out.Delete(key)
		return
	default:
		d.setMaker(key, rivals[0])
		d.mark(rivals[0])
		rivals = slices.Delete(rivals, 0, 1)
	}
	if d.rivals[key] = rivals; len(rivals) == 0 {
		delete(d.rivals, key)
	}
}

func (d *derived[I, O]) flush() {}

func (d *derived[I, O]) stats() Stats {
	return Stats{Table: "making " + d.out.name, Evaluations: d.evaluations}
}

func (d *derived[I, O]) dump(io.Writer) {}
