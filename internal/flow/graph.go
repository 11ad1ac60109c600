// Package flow keeps derived tables up to date with the tables they are
// computed from.
//
// A Graph holds tables. Input tables are written with Set and Delete. Derived
// tables are functions of one row of another table, plus whatever else the
// function reads through its Reader; Keys makes a table of an index's
// distinct keys, so that rows can be grouped. A table can only be read by
// tables made after it, so the graph has no cycles and making order is also
// evaluation order. Commit runs one pass over the tables in that order: each
// function sees its inputs fully updated, and sinks run once, after the pass.
//
//	input ─▶ Derive ─▶ Index ─▶ Keys ─▶ Derive ─▶ OnChange
//
// A change costs what it touches: a function runs again only if its own row
// changed or something that it read, and an equal result stops there.
//
// Graph is not safe for concurrent use. One goroutine owns it.
package flow

import (
	"errors"
	"fmt"
	"io"
)

// A Row is a value with a name unique within its table.
type Row interface{ Key() string }

// A Graph is an ordered set of tables.
type Graph struct {
	steps     []step
	names     map[string]bool // of tables
	conflicts []error         // of this Commit
}

// step is one table's share of a Commit.
type step interface {
	run()   // recompute the rows marked dirty
	flush() // report changes to sinks and forget them
	stats() Stats
	dump(w io.Writer)
}

// Stats says what a table holds and what it cost.
type Stats struct {
	Table       string
	Rows        int
	Evaluations uint64 // runs of the table's function, zero for inputs
	Changes     uint64 // rows written or deleted
}

// Commit brings every derived table up to date, then reports changes to the
// sinks. The error names the keys that, in this pass, two rows were made for:
// of two input rows the first, by key, has its row in the table.
func (g *Graph) Commit() error {
	for _, s := range g.steps {
		s.run()
	}
	for _, s := range g.steps {
		s.flush()
	}
	err := errors.Join(g.conflicts...)
	g.conflicts = nil
	return err
}

func (g *Graph) conflict(table, key string) {
	g.conflicts = append(g.conflicts, fmt.Errorf("table %s: two rows have the key %q", table, key))
}

// Stats reports on every table in making order.
func (g *Graph) Stats() []Stats {
	out := make([]Stats, 0, len(g.steps))
	for _, s := range g.steps {
		out = append(out, s.stats())
	}
	return out
}

// Dump writes every table's rows in key order, for debugging.
func (g *Graph) Dump(w io.Writer) {
	for _, s := range g.steps {
		s.dump(w)
	}
}

func (g *Graph) add(s step) (position int) {
	g.steps = append(g.steps, s)
	return len(g.steps) - 1
}
