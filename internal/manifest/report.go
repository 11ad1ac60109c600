package manifest

import (
	"fmt"
	"slices"

	"github.com/waggle-mesh/waggle/internal/model"
)

// problems gives all problems, in order.
func (c *catalog) problems() []Problem {
	var out []Problem
	strangers := map[typeMeta]*Problem{}
	counts := map[typeMeta]int{}
	for f := range c.troubled {
		if len(f.broken) > 0 {
			out = append(out, f.broken...)
			continue
		}
		out = append(out, f.problems()...)
		for _, d := range f.documents {
			for _, o := range d.foreign {
				t := typeMeta{o.apiVersion, o.kind}
				counts[t]++
				p := Problem{File: f.path, Line: d.line + o.line - 1, Severity: Notice}
				if first := strangers[t]; first == nil || p.Compare(*first) < 0 {
					strangers[t] = &p
				}
			}
		}
	}
	for t, p := range strangers {
		p.Message = fmt.Sprintf("kind %s of %s is not used and passed over (%d in all)", t.kind, t.apiVersion, counts[t])
		out = append(out, *p)
	}
	for ref, e := range c.contested {
		out = append(out, e.duplicates(ref)...)
	}
	slices.SortFunc(out, Problem.Compare)
	return out
}

// problems gives what is wrong with the documents of f and their objects.
func (f *file) problems() []Problem {
	var out []Problem
	for _, d := range f.documents {
		if d.broken != nil {
			out = append(out, d.broken.at(f.path, d.line-1))
		}
		for _, p := range d.problems {
			out = append(out, p.at(f.path, d.line-1))
		}
	}
	for _, cl := range f.claims {
		for _, p := range cl.object.problems {
			problem := p.at(f.path, cl.offset)
			problem.Object, problem.Stale = cl.object.ref, cl.good != nil
			out = append(out, problem)
		}
	}
	return out
}

// at gives p its place: the file, and how many lines of it stand before p's
// document.
func (p fieldProblem) at(path string, offset int) Problem {
	message := p.message
	if p.first > 0 {
		message += fmt.Sprintf(", first in line %d", p.first+offset)
	}
	return Problem{File: path, Line: p.line + offset, Field: p.field, Message: message, Severity: Error}
}

// duplicates gives a problem for each definition of an object but the one
// that is served.
func (e *definition) duplicates(ref model.Ref) []Problem {
	holder := e.owner
	if holder == nil {
		holder = e.claims[0]
	}
	var out []Problem
	for _, cl := range e.claims {
		if cl == holder {
			continue
		}
		out = append(out, Problem{
			File: cl.file.path, Line: cl.line, Object: ref, Severity: Error,
			Message: fmt.Sprintf("is defined twice: %s:%d came first and is the one that counts", holder.file.path, holder.line),
		})
	}
	return out
}
