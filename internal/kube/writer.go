package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Writer is a reconcile.Output that keeps an object for each row.
type Writer[R flow.Row, O Object] struct {
	client *Client
	source *Source[O]
	o      WriterOptions[R, O]
	// written are objects that the source has not seen yet, by key.
	written map[string]O
	// replaced are objects that were deleted to be made anew, until they are.
	replaced map[string]O
}

// WriterOptions tie rows to objects.
type WriterOptions[R flow.Row, O Object] struct {
	// Name is the object's, by the row's key.
	Name func(key string) model.Name
	// Fill makes an object, which may be new, as the row wants it, and leaves
	// alone what the row has no say in.
	Fill func(row R, object O)
	// Ours tells of an object without a row whether it is ours to delete.
	Ours func(object O) bool
	// Owns tells whether an object that is there already is the row's to
	// change; nil: it is. Others' are never touched.
	Owns func(row R, object O) bool
	// Anew tells whether an object cannot become what the row wants, as the API
	// server has fields that never change: it is deleted, and made again, where
	// the API server says that it would be. Others' labels and annotations
	// stay. Nil: none is.
	Anew func(row R, object O) bool
	// Held tells of a row whose object is left as it is, whether it is there or
	// not; nil: none is.
	Held func(row R) bool
	// StatusOnly: the object is somebody else's, who may delete it; only its
	// status is written.
	StatusOnly bool
	// Wrote is called when an object has been changed, with it as it was before
	// and is; nil: nobody wants to know.
	Wrote func(ctx context.Context, before, after O)
}

// ErrForeign: an object of that name is there, and is not ours to change.
var ErrForeign = errors.New("exists already, and is not Waggle's; delete or rename it")

// ErrNotKept: the API server has taken what was written, and dropped some of it.
var ErrNotKept = errors.New("the API server does not keep all that is written: the kind's definition is older than this program, or a webhook changes it")

// errTerminating: an object is to be made anew, and the old one is not gone yet.
var errTerminating = errors.New("it is made anew when the old one is gone, which its finalizers keep until they have run")

// NewWriter makes a Writer of the objects that source reads. The kind must be
// one of which the feed drops nothing.
func NewWriter[R flow.Row, O Object](c *Client, source *Source[O], o WriterOptions[R, O]) *Writer[R, O] {
	return &Writer[R, O]{client: c, source: source, o: o, written: map[string]O{}, replaced: map[string]O{}}
}

// tries are how often a conflict is settled before the Loop has to wait.
const tries = 5

// Update makes the row's object as the row wants it. Where it is, nothing is
// sent.
func (w *Writer[R, O]) Update(ctx context.Context, row R) (struct{}, error) {
	if w.o.Held != nil && w.o.Held(row) {
		return struct{}{}, nil
	}
	name := w.o.Name(row.Key())
	have, exists := w.known(name)
	var err, failure error
	for range tries {
		if !exists && w.o.StatusOnly {
			return struct{}{}, nil // and so will the row be gone
		}
		before, existed := have, exists
		have, exists, err = w.put(ctx, row, name, have, exists)
		if err == nil || errors.Is(err, ErrNotKept) {
			w.remember(name, have)
			if w.o.Wrote != nil && existed && Object(before) != Object(have) {
				w.o.Wrote(ctx, before, have)
			}
			return struct{}{}, err
		}
		switch failure = err; {
		case errors.Is(err, ErrExists), errors.Is(err, ErrConflict), errors.Is(err, ErrNotFound) && exists:
			have, err = Get(ctx, w.client, w.source.kind, name)
			if exists = err == nil; !exists && !errors.Is(err, ErrNotFound) {
				return struct{}{}, err
			}
		default:
			return struct{}{}, err
		}
	}
	if w.o.StatusOnly && errors.Is(failure, ErrNotFound) {
		return struct{}{}, fmt.Errorf("%w: the kind's definition has no status, it is older than this program", failure)
	}
	return struct{}{}, fmt.Errorf("write %s %s: others write it, too: %w", w.source.kind.name, name, ErrConflict)
}

// put is one try.
func (w *Writer[R, O]) put(ctx context.Context, row R, name model.Name, have O, exists bool) (O, bool, error) {
	key := name.String()
	if !exists {
		made, err := Create(ctx, w.client, w.source.kind, w.instead(row, name, w.replaced[key]))
		if err == nil {
			delete(w.replaced, key)
		}
		return made, err == nil, w.kept(row, name, made, err)
	}
	if w.o.Owns != nil && !w.o.Owns(row, have) {
		return have, true, fmt.Errorf("write %s %s: %w", w.source.kind.name, name, ErrForeign)
	}
	if w.o.Anew != nil && w.o.Anew(row, have) {
		return have, true, fmt.Errorf("write %s %s: %w", w.source.kind.name, name, w.replace(ctx, row, name, have))
	}
	delete(w.replaced, key)
	want := have.DeepCopyObject().(O)
	w.o.Fill(row, want)
	if equality.Semantic.DeepEqual(have, want) {
		return have, true, nil
	}
	write := Update[O]
	if w.o.StatusOnly {
		write = UpdateStatus[O]
	}
	made, err := write(ctx, w.client, w.source.kind, want)
	return made, true, w.kept(row, name, made, err)
}

// instead is a new object, with others' labels and annotations of the one that
// it replaces, if it does.
func (w *Writer[R, O]) instead(row R, name model.Name, replaced O) O {
	o := w.source.kind.new()
	if Object(replaced) != Object(*new(O)) {
		o.SetLabels(maps.Clone(replaced.GetLabels()))
		o.SetAnnotations(maps.Clone(replaced.GetAnnotations()))
	}
	o.SetNamespace(name.Namespace)
	o.SetName(name.Name)
	w.o.Fill(row, o)
	return o
}

// replace deletes an object that is to be made anew, if the API server would
// make the new one: what it refuses for good must not cost the old one. The
// error is ErrNotFound where it has.
func (w *Writer[R, O]) replace(ctx context.Context, row R, name model.Name, have O) error {
	if have.GetDeletionTimestamp() != nil {
		return errTerminating
	}
	if err := tryCreate(ctx, w.client, w.source.kind, w.instead(row, name, have)); err != nil {
		return err
	}
	if err := Delete(ctx, w.client, w.source.kind, name, have.GetUID()); err != nil {
		return err
	}
	w.replaced[name.String()] = have
	return ErrNotFound
}

// kept tells, of an object that was written, whether the API server has kept it
// as the row wants it: else it would be written again at each look.
func (w *Writer[R, O]) kept(row R, name model.Name, made O, err error) error {
	if err != nil {
		return err
	}
	want := made.DeepCopyObject().(O)
	w.o.Fill(row, want)
	if equality.Semantic.DeepEqual(made, want) {
		return nil
	}
	return fmt.Errorf("write %s %s: %w", w.source.kind.name, name, ErrNotKept)
}

// remember keeps what was written until the feed has seen it.
func (w *Writer[R, O]) remember(name model.Name, o O) {
	w.written[name.String()] = o
	const many = 100
	if len(w.written) < many {
		return
	}
	maps.DeleteFunc(w.written, func(_ string, written O) bool {
		seen, ok := w.source.Newest(nameOf(written))
		return ok && !older(seen, written) || !ok && w.source.knows(written.GetResourceVersion())
	})
}

// known is the object as it was last seen, by the feed or by a write.
func (w *Writer[R, O]) known(name model.Name) (O, bool) {
	seen, ok := w.source.Newest(name)
	written, wrote := w.written[name.String()]
	if !wrote || ok && !older(seen, written) || !ok && w.source.knows(written.GetResourceVersion()) {
		delete(w.written, name.String())
		return seen, ok
	}
	return written, true
}

func older[O Object](a, b O) bool {
	return olderVersion(a.GetResourceVersion(), b.GetResourceVersion())
}

// olderVersion compares versions, which are numbers (KEP-5504).
func olderVersion(a, b string) bool {
	va, errA := strconv.ParseUint(a, 10, 64)
	vb, errB := strconv.ParseUint(b, 10, 64)
	return errA == nil && errB == nil && va < vb
}

// Delete deletes the object of a row that is gone.
func (w *Writer[R, O]) Delete(ctx context.Context, key string) error {
	name := w.o.Name(key)
	delete(w.replaced, name.String())
	have, exists := w.known(name)
	if w.o.StatusOnly || !exists || !w.o.Ours(have) {
		return nil
	}
	if err := Delete(ctx, w.client, w.source.kind, name, have.GetUID()); err != nil {
		return err
	}
	delete(w.written, name.String())
	return nil
}

// Prune deletes our objects that have no row.
func (w *Writer[R, O]) Prune(ctx context.Context, keys []string) error {
	if w.o.StatusOnly {
		return nil
	}
	var wanted []string
	for _, key := range keys {
		wanted = append(wanted, w.o.Name(key).String())
	}
	slices.Sort(wanted)
	for _, o := range w.source.All() {
		if _, found := slices.BinarySearch(wanted, nameOf(o).String()); found || !w.o.Ours(o) {
			continue
		}
		if err := Delete(ctx, w.client, w.source.kind, nameOf(o), o.GetUID()); err != nil {
			return err
		}
	}
	return nil
}
