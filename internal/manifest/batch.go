package manifest

import "github.com/waggle-mesh/waggle/internal/model"

// A Batch is a set of changes to tables, at most one per object. It is
// applied by the goroutine that owns the tables.
type Batch struct {
	changes map[model.Ref]change
}

// change is an object's new version, or its end.
type change struct {
	binding *Binding
	object  *object // nil: deleted
}

// Len is the number of objects that change.
func (b Batch) Len() int { return len(b.changes) }

// Apply brings the tables up to date. It does not commit.
func (b Batch) Apply() {
	for ref, c := range b.changes {
		if c.object == nil {
			c.binding.remove(ref.Name.String())
		} else {
			c.binding.set(ref.Name, c.object.version, c.object.value)
		}
	}
}

// add puts newer changes over those of b.
func (b *Batch) add(newer Batch) {
	if b.changes == nil {
		b.changes = newer.changes
		return
	}
	for ref, c := range newer.changes {
		b.changes[ref] = c
	}
}

func (b *Batch) put(ref model.Ref, c change) {
	if b.changes == nil {
		b.changes = map[model.Ref]change{}
	}
	b.changes[ref] = c
}
