package flow

import (
	"io"
	"maps"
	"slices"
)

// union keeps the rows of several tables in one.
type union[T Row] struct {
	graph *Graph
	parts []*Table[T]
	out   *Table[T]
	dirty map[string]struct{}
}

// Union adds a table of the rows of all parts. No two parts may have a row of
// one key: Commit says so, and the row of the first part holds.
func Union[T Row](g *Graph, name string, equal func(a, b T) bool, parts ...*Table[T]) *Table[T] {
	u := &union[T]{graph: g, parts: parts, dirty: map[string]struct{}{}}
	for _, p := range parts {
		p.next = append(p.next, func(key string) { u.dirty[key] = struct{}{} })
	}
	g.add(u)
	u.out = NewTable(g, name, equal)
	return u.out
}

func (u *union[T]) run() {
	for _, key := range slices.Sorted(maps.Keys(u.dirty)) {
		found := 0
		for _, p := range u.parts {
			row, ok := p.rows[key]
			if !ok {
				continue
			}
			if found++; found == 1 {
				u.out.set(key, row)
			}
		}
		switch {
		case found == 0:
			u.out.Delete(key)
		case found > 1:
			u.graph.conflict(u.out.name, key)
		}
	}
	u.dirty = emptied(u.dirty)
}

func (u *union[T]) flush()         {}
func (u *union[T]) stats() Stats   { return Stats{Table: "union " + u.out.name} }
func (u *union[T]) dump(io.Writer) {}
