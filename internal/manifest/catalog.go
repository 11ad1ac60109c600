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
	entries   map[model.Ref]*definition
	troubled  map[*file]struct{}        // files with something to say
	contested map[model.Ref]*definition // objects with several claims
}

// file is one file as it was last read.
type file struct {
	path      string
	stamp     stamp
	look      int // of the watcher's, the last in which the file was there
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
	entry  *definition
	order  int // among the file's claims
	line   int // in the file
	offset int // what to add to lines of object
	object *object
	// good is object or, where that is refused, the last version that was
	// not. nil: there has been none.
	good *object
}

func compareClaims(a, b *claim) int {
	return cmp.Or(cmp.Compare(a.file.path, b.file.path), cmp.Compare(a.order, b.order))
}

// definition is one object, and who defines it.
type definition struct {
	claims []*claim // in order
	owner  *claim   // the one that is served; nil: none
	nth    int      // which of its file's claims to the object the owner is
	served *object  // the owner's good version, as it was last handed out
}

// nthOf gives the nth claim of a file, or nil.
func (e *definition) nthOf(path string, nth int) *claim {
	for _, cl := range e.claims {
		if cl.file.path != path {
			continue
		}
		if nth == 0 {
			return cl
		}
		nth--
	}
	return nil
}

func newCatalog() catalog {
	return catalog{
		files:     map[string]*file{},
		entries:   map[model.Ref]*definition{},
		troubled:  map[*file]struct{}{},
		contested: map[model.Ref]*definition{},
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
	var old, now []*claim
	if before != nil {
		delete(c.troubled, before)
		old = before.claims
	}
	if after != nil {
		if after.troubled() {
			c.troubled[after] = struct{}{}
		}
		now = after.claims
	}
	touched := map[model.Ref]struct{}{}
	// Most of a large file has not changed.
	for len(old) > 0 && len(now) > 0 && old[0].object.ref == now[0].object.ref {
		old[0].replace(now[0], touched)
		old, now = old[1:], now[1:]
	}
	for len(old) > 0 && len(now) > 0 && old[len(old)-1].object.ref == now[len(now)-1].object.ref {
		old[len(old)-1].replace(now[len(now)-1], touched)
		old, now = old[:len(old)-1], now[:len(now)-1]
	}
	for _, cl := range old {
		touched[cl.object.ref] = struct{}{}
		cl.entry.claims = slices.DeleteFunc(cl.entry.claims, func(other *claim) bool { return other == cl })
	}
	for _, cl := range now {
		touched[cl.object.ref] = struct{}{}
		e := c.entries[cl.object.ref]
		if e == nil {
			e = &definition{}
			c.entries[cl.object.ref] = e
		}
		cl.entry = e
		i, _ := slices.BinarySearchFunc(e.claims, cl, compareClaims)
		e.claims = slices.Insert(e.claims, i, cl)
	}
	for ref := range touched {
		c.settle(ref, batch)
	}
}

// replace puts now, of the next version of the file, in place of cl.
func (cl *claim) replace(now *claim, touched map[model.Ref]struct{}) {
	e := cl.entry
	now.entry = e
	e.claims[slices.Index(e.claims, cl)] = now
	if e.owner == cl {
		e.owner = now
	}
	if cl.good != now.good || len(e.claims) > 1 {
		touched[cl.object.ref] = struct{}{}
	}
}

// settle decides which definition of an object is served: the one that is, as
// long as it stands, else the first.
func (c *catalog) settle(ref model.Ref, batch *Batch) {
	e := c.entries[ref]
	owner := e.owner
	if owner != nil && !slices.Contains(e.claims, owner) {
		owner = e.nthOf(e.owner.file.path, e.nth)
	}
	if owner == nil || owner.good == nil {
		owner = nil
		if i := slices.IndexFunc(e.claims, func(cl *claim) bool { return cl.good != nil }); i >= 0 {
			owner = e.claims[i]
		}
	}
	if e.owner = owner; owner != nil {
		for e.nth = 0; e.nthOf(owner.file.path, e.nth) != owner; e.nth++ {
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
	count := 0
	for _, d := range f.documents {
		count += len(d.objects)
	}
	claims := make([]claim, count)
	f.claims = make([]*claim, 0, count)
	for _, d := range f.documents {
		for _, o := range d.objects {
			cl := &claims[len(f.claims)]
			*cl = claim{file: f, order: len(f.claims), line: d.line + o.line - 1, offset: d.line - 1, object: o}
			if o.value != nil {
				cl.good = o
			}
			f.claims = append(f.claims, cl)
		}
	}
}

// inherit gives claims of f that are refused the good version before them.
func (f *file) inherit(before *file) {
	if !slices.ContainsFunc(f.claims, func(cl *claim) bool { return cl.good == nil }) {
		return
	}
	good := map[model.Ref][]*object{} // in order of the claims
	for _, cl := range before.claims {
		good[cl.object.ref] = append(good[cl.object.ref], cl.good)
	}
	for _, cl := range f.claims {
		versions := good[cl.object.ref]
		if len(versions) == 0 {
			continue
		}
		if cl.good == nil {
			cl.good = versions[0]
		}
		good[cl.object.ref] = versions[1:]
	}
}

// troubled tells whether there is a problem to report of f itself.
func (f *file) troubled() bool {
	if len(f.broken) > 0 {
		return true
	}
	for _, d := range f.documents {
		if d.troubled() {
			return true
		}
	}
	return false
}

func (d *document) troubled() bool {
	return d.broken != nil || len(d.problems)+len(d.foreign) > 0 ||
		slices.ContainsFunc(d.objects, func(o *object) bool { return len(o.problems) > 0 })
}
