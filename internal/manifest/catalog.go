package manifest

import (
	"cmp"
	"slices"
	"strings"

	"github.com/waggle-mesh/waggle/internal/model"
)

// catalog knows which file defines what, and which definition is served.
type catalog struct {
	files     map[string]*file // by path
	entries   map[model.Ref]*entryOfObject
	troubled  map[*file]struct{}           // files with something to say
	contested map[model.Ref]*entryOfObject // objects with several claims
}

// file is one file as it was last read.
type file struct {
	path      string
	stamp     stamp
	documents []placed
	claims    []*claim
	// broken are the reasons why the file's newest content is not used.
	// The documents and claims are of the content before it then.
	broken []Problem
}

// placed is a document at its place in a file.
type placed struct {
	*document
	digest digest
	line   int // of its first line in the file, from 1
}

// claim is a file's definition of an object.
type claim struct {
	file   *file
	order  int // among the file's claims
	nth    int // among the file's claims to the same object
	line   int // in the file
	offset int // what to add to lines of object
	object *object
	// good is object or, where that is refused, the last version that was
	// not. nil: there has been none.
	good *object
}

// same tells whether c and other are versions of one definition.
func (c *claim) same(other *claim) bool {
	return c.file.path == other.file.path && c.nth == other.nth
}

func compareClaims(a, b *claim) int {
	return cmp.Or(cmp.Compare(a.file.path, b.file.path), cmp.Compare(a.order, b.order))
}

// entryOfObject is what is known of one object.
type entryOfObject struct {
	claims []*claim // in order
	owner  *claim   // the one that is served; nil: none
	served *object  // the owner's good version, as it was last handed out
}

func newCatalog() catalog {
	return catalog{
		files:     map[string]*file{},
		entries:   map[model.Ref]*entryOfObject{},
		troubled:  map[*file]struct{}{},
		contested: map[model.Ref]*entryOfObject{},
	}
}

// put makes f the version of its file that counts, and adds what changes to
// batch.
func (c *catalog) put(f *file, batch *Batch) {
	before := c.files[f.path]
	f.stake()
	if before != nil {
		f.inherit(before)
	}
	c.files[f.path] = f
	c.exchange(before, f, batch)
}

// remove forgets a file and adds what changes to batch.
func (c *catalog) remove(path string, batch *Batch) {
	if before := c.files[path]; before != nil {
		delete(c.files, path)
		c.exchange(before, nil, batch)
	}
}

// has tells whether the file at path is known in the version of s.
func (c *catalog) has(path string, s stamp) bool {
	f := c.files[path]
	return f != nil && f.stamp == s
}

// below lists the files at or below a path.
func (c *catalog) below(path string) []string {
	if c.files[path] != nil {
		return []string{path}
	}
	var out []string
	for name := range c.files {
		if strings.HasPrefix(name, path+"/") {
			out = append(out, name)
		}
	}
	return out
}

// exchange replaces the claims of one version of a file, which may be nil, by
// those of the next, which may be nil.
func (c *catalog) exchange(before, after *file, batch *Batch) {
	touched := map[model.Ref]struct{}{}
	if before != nil {
		delete(c.troubled, before)
		for _, cl := range before.claims {
			touched[cl.object.ref] = struct{}{}
			e := c.entries[cl.object.ref]
			e.claims = slices.DeleteFunc(e.claims, func(other *claim) bool { return other == cl })
		}
	}
	if after != nil {
		if after.troubled() {
			c.troubled[after] = struct{}{}
		}
		for _, cl := range after.claims {
			touched[cl.object.ref] = struct{}{}
			e := c.entries[cl.object.ref]
			if e == nil {
				e = &entryOfObject{}
				c.entries[cl.object.ref] = e
			}
			i, _ := slices.BinarySearchFunc(e.claims, cl, compareClaims)
			e.claims = slices.Insert(e.claims, i, cl)
		}
	}
	for ref := range touched {
		c.settle(ref, batch)
	}
}

// settle decides which definition of an object is served: the one that is, as
// long as it stands, else the first.
func (c *catalog) settle(ref model.Ref, batch *Batch) {
	e := c.entries[ref]
	owner := e.owner
	e.owner = nil
	for _, cl := range e.claims {
		if cl.good == nil {
			continue
		}
		if e.owner == nil || owner != nil && cl.same(owner) {
			e.owner = cl
		}
	}
	if len(e.claims) > 1 && ref.Name.Name != "" {
		c.contested[ref] = e
	} else {
		delete(c.contested, ref)
	}
	if len(e.claims) == 0 {
		delete(c.entries, ref)
	}
	before := e.served
	if e.served = nil; e.owner != nil {
		e.served = e.owner.good
	}
	switch {
	case e.served == nil && before != nil:
		batch.put(ref, change{binding: before.binding})
	case e.served != nil && (before == nil || before.version != e.served.version):
		batch.put(ref, change{binding: e.served.binding, object: e.served})
	}
}

// stake makes the claims of f from its documents.
func (f *file) stake() {
	seen := map[model.Ref]int{}
	for _, d := range f.documents {
		for _, o := range d.objects {
			cl := &claim{file: f, order: len(f.claims), nth: seen[o.ref], line: d.line + o.line - 1, offset: d.line - 1, object: o}
			if o.value != nil {
				cl.good = o
			}
			seen[o.ref]++
			f.claims = append(f.claims, cl)
		}
	}
}

// inherit gives claims of f that are refused the good version before them.
func (f *file) inherit(before *file) {
	type identity struct {
		ref model.Ref
		nth int
	}
	var good map[identity]*object
	for _, cl := range f.claims {
		if cl.good != nil {
			continue
		}
		if good == nil {
			good = make(map[identity]*object, len(before.claims))
			for _, b := range before.claims {
				good[identity{b.object.ref, b.nth}] = b.good
			}
		}
		cl.good = good[identity{cl.object.ref, cl.nth}]
	}
}

// troubled tells whether there is a problem to report of f itself.
func (f *file) troubled() bool {
	if len(f.broken) > 0 {
		return true
	}
	for _, d := range f.documents {
		if d.broken != nil || len(d.problems)+len(d.foreign) > 0 {
			return true
		}
		for _, o := range d.objects {
			if len(o.problems) > 0 {
				return true
			}
		}
	}
	return false
}
