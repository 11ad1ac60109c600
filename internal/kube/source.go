package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/reconcile"
)

// Table is what a feed writes to: a flow.Table.
type Table[T any] interface {
	Set(row model.Object[T])
	Delete(key string)
}

// NoTable is for kinds of which only the Source is of use.
type NoTable[T any] struct{}

// Set does nothing.
func (NoTable[T]) Set(model.Object[T]) {}

// Delete does nothing.
func (NoTable[T]) Delete(string) {}

// Selection narrows what is read of a kind. The zero Selection is everything.
type Selection struct {
	Namespace string // the one to read; empty: all
	Fields    string // as in `kubectl get --field-selector`
	Labels    string // as in `kubectl get --selector`
}

// Pauses of a feed.
const (
	// The longest between two tries: with jitter at most a second.
	longestPause = 700 * time.Millisecond
	// Between two looks for a kind that is taken for missing.
	missingPause = 5 * time.Second
)

// slack is how much sooner than it was asked to a watch may end.
const slack = 5 * time.Second

// patience is for how long a feed must hear nothing but one refusal before it
// is believed. An API server that has just begun, a proxy before it or another
// server in its place refuses as well.
type patience struct {
	missing   time.Duration // "not found", of a custom resource of which there were no objects
	lost      time.Duration // the same where there were some: what they stand for would be deleted
	forbidden time.Duration
}

var usual = patience{missing: 5 * time.Second, lost: time.Minute, forbidden: 30 * time.Second}

// Source is the feed of one kind. It also knows the newest objects, for
// writers, which do not own the tables.
type Source[T Object] struct {
	kind   Kind[T]
	only   Selection
	table  Table[T]
	feeds  *Feeds
	mu     sync.Mutex
	newest map[string]T // by the row's key
	// latest is the newest version that has been told of, of any object.
	latest string
	kept   []func(model.Name) // by Keep
	state  KindStatus
	// watched is until when the last watch was to go on; zero: all objects have
	// been read since. The reflector's.
	watched time.Time
	// others counts objects that came with another content than before, at the
	// same version.
	others int
	// notFound and forbidden are since when every answer was that; zero: the
	// last was another.
	notFound, forbidden streak
}

// Feed adds the feed of a kind. Run starts it.
func Feed[T Object](f *Feeds, kind Kind[T], table Table[T], only Selection) *Source[T] {
	s := &Source[T]{kind: kind, only: only, table: table, feeds: f, newest: map[string]T{}, state: KindStatus{Kind: kind.name, Only: only.Labels}}
	f.feeds = append(f.feeds, s)
	return s
}

// Newest is the object as the feed last saw it. Nobody changes it.
func (s *Source[T]) Newest(name model.Name) (T, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.newest[name.String()]
	return o, ok
}

// All are the objects as the feed last saw them, by name.
func (s *Source[T]) All() []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]T, 0, len(s.newest))
	for _, key := range slices.Sorted(maps.Keys(s.newest)) {
		out = append(out, s.newest[key])
	}
	return out
}

// Read tells whether Apply has brought all objects once, or there is no such
// kind.
func (s *Source[T]) Read() bool { return s.status().Synced }

// Live tells whether All are all that there are: everything has been read, and
// changes are still being told. False too where the API server does not have
// the kind.
func (s *Source[T]) Live() bool {
	state := s.status()
	return state.Synced && !state.Missing && state.Error == ""
}

func (s *Source[T]) status() KindStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.state
	out.Objects = len(s.newest)
	out.Forbidden = s.forbidden.lasts(s.feeds.patience.forbidden)
	return out
}

func (s *Source[T]) run(ctx context.Context) {
	backoff := &wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Cap: longestPause, Steps: 1 << 20, Jitter: 0.4}
	reflector := cache.NewReflectorWithOptions(
		&cache.ListWatch{ListWithContextFunc: s.list, WatchFuncWithContext: s.watch}, s.kind.new(), s,
		cache.ReflectorOptions{Name: s.kind.name, Backoff: backoff})
	reflector.RunWithContext(ctx)
}

func (s *Source[T]) list(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	s.watched = time.Time{}
	o.FieldSelector, o.LabelSelector = s.only.Fields, s.only.Labels
	list, err := s.kind.request(s.feeds.client.groups[s.kind.group].Get(), model.Name{Namespace: s.only.Namespace}).
		VersionedParams(&o, metav1.ParameterCodec).Do(ctx).Get()
	return list, s.judge(ctx, err)
}

func (s *Source[T]) watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	if goesOn := o.SendInitialEvents == nil; goesOn && s.cutShort() {
		return nil, apierrors.NewResourceExpired("the kind's definition may have changed")
	}
	o.FieldSelector, o.LabelSelector, o.Watch = s.only.Fields, s.only.Labels, true
	var timeout time.Duration
	if o.TimeoutSeconds != nil {
		timeout = time.Duration(*o.TimeoutSeconds) * time.Second
	}
	w, err := s.kind.request(s.feeds.client.groups[s.kind.group].Get(), model.Name{Namespace: s.only.Namespace}).
		VersionedParams(&o, metav1.ParameterCodec).Timeout(timeout).Watch(ctx)
	if err == nil {
		s.watched = time.Now().Add(timeout)
	}
	return w, s.judge(ctx, err)
}

// cutShort tells whether the last watch has ended without an error, before its
// time. So end those of a custom resource whose definition has changed, a second
// or more after that: until then they told of objects as the older definition has
// them, without fields that it lacks, at the versions that they have in the newer.
// Who went on from such a version would never hear of what is missing.
func (s *Source[T]) cutShort() bool {
	return custom(s.kind.group) && time.Now().Before(s.watched.Add(-slack))
}

// judge takes note of how a request ended.
func (s *Source[T]) judge(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil || errors.Is(err, context.Canceled) {
		if err == nil {
			s.missing(nil)
			s.note("", false)
		}
		return err
	}
	// A version that is too old, or a way of listing that an old API server
	// does not know, is for the reflector to answer.
	if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || apierrors.IsInvalid(err) {
		return err
	}
	missing := s.missing(err)
	s.note(err.Error(), missing)
	s.feeds.push(func() {}) // whoever waits for the kind may be waiting for no more than this
	if missing {
		s.empty()
		select {
		case <-time.After(missingPause + rand.N(missingPause/5)):
		case <-ctx.Done():
		}
	}
	return fmt.Errorf("read %s: %w", s.kind.resource, err)
}

// missing takes note of an answer, and tells whether it settles that the API
// server does not have the kind. The kinds of Kubernetes itself it always has:
// whoever does not find them is not the API server.
func (s *Source[T]) missing(err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forbidden.goes(apierrors.IsForbidden(err))
	s.notFound.goes(apierrors.IsNotFound(err) && custom(s.kind.group))
	if len(s.newest) > 0 {
		return s.notFound.lasts(s.feeds.patience.lost)
	}
	return s.notFound.lasts(s.feeds.patience.missing)
}

// streak is since when something has been so without a break; zero: it is not.
type streak time.Time

func (s *streak) goes(on bool) {
	switch {
	case !on:
		*s = streak{}
	case time.Time(*s).IsZero():
		*s = streak(time.Now())
	}
}

func (s streak) lasts(long time.Duration) bool {
	return !time.Time(s).IsZero() && time.Since(time.Time(s)) >= long
}

// note keeps the feed's state, and says what is new about it.
func (s *Source[T]) note(problem string, missing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	had := s.state
	if missing {
		problem = ""
	}
	if (had.Error == "") == (problem == "") && had.Missing == missing {
		s.state.Error = problem
		return
	}
	s.state.Error, s.state.Missing, s.state.Since = problem, missing, time.Now()
	switch {
	case missing:
		s.feeds.log.Warn("the API server does not have this kind, which is off until it has", "kind", s.kind.name)
	case problem != "":
		s.feeds.log.Warn("read from the API server", "kind", s.kind.name, "error", problem)
	default:
		s.state.Since = time.Time{}
		s.feeds.log.Info("reading from the API server again", "kind", s.kind.name)
	}
}

// empty is the state of a kind that is not there.
func (s *Source[T]) empty() {
	if err := s.Replace(nil, ""); err != nil {
		panic(err) // it has no way to fail
	}
}

// Add is the reflector's: an object has come or changed.
func (s *Source[T]) Add(o any) error {
	if change := s.set(o.(T)); change != nil {
		s.feeds.push(change)
	}
	return nil
}

// Update is the reflector's.
func (s *Source[T]) Update(o any) error { return s.Add(o) }

// Delete is the reflector's: an object is gone.
func (s *Source[T]) Delete(o any) error {
	name := nameOf(o.(T))
	s.mu.Lock()
	delete(s.newest, name.String())
	s.told(o.(T).GetResourceVersion())
	s.mu.Unlock()
	s.feeds.push(s.gone(name))
	return nil
}

// Replace is the reflector's: these and no others are there.
func (s *Source[T]) Replace(all []any, version string) error {
	var changes []func()
	there := map[string]bool{}
	for _, o := range all {
		there[nameOf(o.(T)).String()] = true
		if change := s.set(o.(T)); change != nil {
			changes = append(changes, change)
		}
	}
	s.mu.Lock()
	for key, o := range s.newest {
		if !there[key] {
			delete(s.newest, key)
			changes = append(changes, s.gone(nameOf(o)))
		}
	}
	s.told(version)
	s.mu.Unlock()
	s.feeds.push(append(changes, s.synced)...)
	return nil
}

// Resync is the reflector's; nobody asks for it.
func (s *Source[T]) Resync() error { return nil }

func (s *Source[T]) synced() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Synced = true
}

// set takes note of an object, and gives what is to be done about it: nothing
// if it is the one that is known.
func (s *Source[T]) set(o T) func() {
	name, version := nameOf(o), o.GetResourceVersion()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kind.shorten(o)
	row := version
	if old, ok := s.newest[name.String()]; ok && old.GetResourceVersion() == version {
		if !custom(s.kind.group) || equality.Semantic.DeepEqual(old, o) {
			return nil
		}
		s.others++ // see cutShort
		row = fmt.Sprintf("%s+%d", version, s.others)
	}
	s.newest[name.String()] = o
	s.told(version)
	return func() {
		s.table.Set(model.Object[T]{Name: name, Version: row, Value: o})
		s.touch(name)
	}
}

// gone is what is to be done about an object that is not there any more.
func (s *Source[T]) gone(name model.Name) func() {
	return func() {
		s.table.Delete(name.String())
		s.touch(name)
	}
}

// told takes note of a version, with the lock held.
func (s *Source[T]) told(version string) {
	if s.latest == "" || olderVersion(s.latest, version) {
		s.latest = version
	}
}

// knows tells whether what was so at a version has been told of: an object
// that was written then and is not in Newest is gone.
func (s *Source[T]) knows(version string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest != "" && !olderVersion(s.latest, version)
}

// touch has rows that are kept be looked at after the next commit; the graph's
// owner calls it.
func (s *Source[T]) touch(name model.Name) {
	for _, look := range s.kept {
		s.feeds.touched = append(s.feeds.touched, func() { look(name) })
	}
}

// Keep has loop make the row of an object so again whenever somebody changes
// or deletes the object, ourselves included: what users do to it does not last.
// key is the row's, by the object's name. It is called before Feeds.Run.
func Keep[R flow.Row, Out any, O Object](s *Source[O], table *flow.Table[R], loop *reconcile.Loop[R, Out], key func(model.Name) string) {
	s.kept = append(s.kept, func(name model.Name) {
		if row, ok := table.Get(key(name)); ok {
			loop.Again(row)
		}
	})
}
