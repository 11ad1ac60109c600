package kube

import (
	"context"
	"errors"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waggle-mesh/waggle/internal/model"
)

// Leases decide which of several processes does something.
var Leases = Kind[*coordinationv1.Lease]{name: "Lease", group: coordinationv1.SchemeGroupVersion, resource: "leases",
	new: func() *coordinationv1.Lease { return new(coordinationv1.Lease) }, keeps: everything}

// Elections makes a process the leader of any number of things, each by a
// Lease, in the way of client-go and all of Kubernetes. What others hold it
// learns from a feed: a Lease costs one write where it is renewed, and no
// reads. Of those who may take a Lease each waits a little, and each for
// another time, so that many Leases are shared out and seldom two write one.
//
// A leader stays one until another has taken its Lease, not until its own has
// ended: while the API server is away nobody can, so nobody has to stop. When it
// is back, leaders have a while to renew before others take what has ended.
type Elections struct {
	options  ElectionOptions
	client   *Client
	mu       sync.Mutex
	contests map[string]*contest // by the Lease's name
	begun    bool
	wake     chan struct{}
}

// ElectionOptions say who runs for what.
type ElectionOptions struct {
	Namespace string        // of the Leases
	Label     string        // that they have, and by which the feed selects them
	Identity  string        // of this process; the next of the same goes on with its Leases
	Duration  time.Duration // how long a leader may be silent; whole seconds
	Deadline  time.Duration // how long a write may take; less than Duration
	Retry     time.Duration // after a write that failed
	// Tell is told what became of a Lease; for each Lease in order.
	Tell func(lease string, t Tenure)
	Log  *slog.Logger
}

// Tenure is what became of a Lease.
type Tenure struct {
	// Held: this process leads. Taken: it has just begun to, and another may
	// have led before.
	Held, Taken bool
	// Until is when another may lead at the earliest; zero: now.
	Until time.Time
}

// contest is one Lease. Elections' lock guards it.
type contest struct {
	name   string
	wanted bool
	ended  bool                  // what it was about is gone: so shall be the Lease
	asked  time.Time             // since when it is wanted, or not
	lease  *coordinationv1.Lease // the newest; nil: none
	since  time.Time             // when it was first seen so
	leads  bool                  // as was told
	begun  time.Time             // of the last write that succeeded
	left   time.Time             // until then the Lease waits for another who takes it
	silent bool                  // the API server has not answered the last request
	heard  time.Time             // when it did again; zero: it always has
	at     time.Time             // when to look again; zero: when something changes
	news   []Tenure              // that nobody was told of yet
}

// NewElections makes Elections that wait for Begin. The feed of Leases writes
// into them.
func NewElections(f *Feeds, o ElectionOptions) *Elections {
	e := &Elections{options: o, client: f.client, contests: map[string]*contest{}, wake: make(chan struct{}, 1)}
	Feed(f, Leases, Table[*coordinationv1.Lease](e), Selection{Namespace: o.Namespace, Labels: o.Label})
	return e
}

// Set is the feed's.
func (e *Elections) Set(row model.Object[*coordinationv1.Lease]) {
	e.change(row.Name.Name, func(c *contest) { c.see(row.Value) })
}

// Delete is the feed's.
func (e *Elections) Delete(key string) {
	_, name, _ := strings.Cut(key, "/")
	e.change(name, func(c *contest) { c.see(nil) })
}

// Begin is called when the feed has synced and everything that is wanted has
// been said. Leases of an earlier process that nobody wants are given up.
func (e *Elections) Begin() {
	e.mu.Lock()
	e.begun = true
	for _, c := range e.contests {
		c.at = time.Now()
	}
	e.mu.Unlock()
	e.look()
}

// Want has the process run for a Lease. led says that, for all it knows, an
// earlier process of its identity has the Lease: it will be told if that is not
// so.
func (e *Elections) Want(lease string, led bool) {
	e.change(lease, func(c *contest) {
		if !c.wanted {
			c.wanted, c.ended, c.asked = true, false, time.Now()
			c.leads = c.leads || led
		}
	})
}

// Leave gives a Lease up: another takes it, or nobody is left to. ended says
// that there is nothing to lead any more.
func (e *Elections) Leave(lease string, ended bool) {
	e.change(lease, func(c *contest) { c.wanted, c.ended, c.asked = false, ended, time.Now() })
}

// Resign gives all Leases up, once Run has returned.
func (e *Elections) Resign(ctx context.Context) {
	e.mu.Lock()
	for _, c := range e.contests {
		c.wanted, c.at = false, time.Now()
	}
	e.mu.Unlock()
	e.round(ctx)
}

func (e *Elections) change(lease string, f func(*contest)) {
	e.mu.Lock()
	c := e.contests[lease]
	if c == nil {
		c = &contest{name: lease}
		e.contests[lease] = c
	}
	f(c)
	c.at = time.Now()
	e.mu.Unlock()
	e.look()
}

func (e *Elections) look() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Run takes and renews Leases until ctx ends. Those it has then stay its own
// until they end.
func (e *Elections) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.wake:
		case <-timer.C:
		}
		if next := e.round(ctx); !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
}

// writers is how many Leases are written at once.
const writers = 8

// round does what is to be done now, and tells when to come again; zero: when
// something changes.
func (e *Elections) round(ctx context.Context) (next time.Time) {
	e.mu.Lock()
	var due []*contest
	now := time.Now()
	for name, c := range e.contests {
		switch {
		case !e.begun:
		case !c.wanted && c.lease == nil && !c.leads:
			delete(e.contests, name)
		case !c.at.IsZero() && !c.at.After(now):
			due = append(due, c)
		}
	}
	e.mu.Unlock()
	var all sync.WaitGroup
	places := make(chan struct{}, writers)
	for _, c := range due {
		places <- struct{}{}
		all.Go(func() {
			e.step(ctx, c)
			<-places
		})
	}
	all.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.contests {
		if e.begun && !c.at.IsZero() && (next.IsZero() || c.at.Before(next)) {
			next = c.at
		}
	}
	return next
}

// step does what is to be done about one Lease: mostly nothing.
func (e *Elections) step(ctx context.Context, c *contest) {
	var write write
	var have *coordinationv1.Lease
	reads := false // and writes nothing
	e.with(c, func() {
		write = e.decide(c, time.Now())
		have, reads = c.lease, c.silent && c.holder() != e.options.Identity
	})
	if write == nil {
		return
	}
	begin := time.Now()
	limited, cancel := context.WithTimeout(ctx, e.options.Deadline)
	defer cancel()
	made, err := write(limited, have)
	if errors.Is(err, ErrExists) || errors.Is(err, ErrConflict) || errors.Is(err, ErrNotFound) {
		if made, err = Get(limited, e.client, Leases, model.Name{Namespace: e.options.Namespace, Name: c.name}); errors.Is(err, ErrNotFound) {
			made, err = nil, nil
		}
		reads = true
	}
	e.with(c, func() {
		if err != nil {
			e.options.Log.Debug("ask for a Lease", "lease", c.name, "error", err)
			c.silent = true
			c.at = time.Now().Add(e.options.Retry + rand.N(e.options.Retry/5+1))
			return
		}
		if c.silent {
			c.silent, c.heard = false, time.Now()
		}
		c.see(made)
		if c.holder() == e.options.Identity && !reads {
			c.begun = begin
			taken := have == nil || valueOf(have.Spec.HolderIdentity) != e.options.Identity
			c.tell(Tenure{Held: true, Taken: taken, Until: begin.Add(e.options.Duration)})
		}
		e.decide(c, time.Now()) // when to look again
	})
}

// with calls f with the lock held, and tells afterwards what is new: who is told
// may be waiting for the lock.
func (e *Elections) with(c *contest, f func()) {
	e.mu.Lock()
	f()
	news := c.news
	c.news = nil
	e.mu.Unlock()
	for _, t := range news {
		e.options.Tell(c.name, t)
	}
}

// write is a request to the API server about a Lease, which may be nil.
type write func(context.Context, *coordinationv1.Lease) (*coordinationv1.Lease, error)

// decide says what is to be written now, and sets when to look again otherwise.
func (e *Elections) decide(c *contest, now time.Time) write {
	c.at = time.Time{}
	ours := c.holder() == e.options.Identity
	if !c.wanted {
		return e.leave(c, ours, now)
	}
	c.left = time.Time{}
	from := c.free(now, c.asked)
	switch {
	case ours && c.begun.IsZero(): // an earlier process had it
		from = now
	case ours:
		from = c.begun.Add(e.renewal())
	default:
		if c.holder() != "" && from.After(now) && c.leads {
			c.tell(Tenure{})
		}
		if c.silent { // its leader may not have been heard, either
			return e.read(c.name)
		}
		if grace := c.heard.Add(e.renewal() + e.options.Retry); c.holder() != "" && from.Before(grace) {
			from = grace
		}
		from = from.Add(e.spread(c.name))
	}
	if from.After(now) {
		c.at = from
		return nil
	}
	c.at = now
	return e.take(c.name)
}

func (e *Elections) leave(c *contest, ours bool, now time.Time) write {
	switch {
	case ours && c.ended:
		if c.leads {
			c.tell(Tenure{})
		}
		c.at = now
		return e.delete
	case ours:
		if c.leads { // whoever claims it has it, from here on
			c.tell(Tenure{Held: true})
		}
		c.left, c.at = now.Add(2*e.options.Retry), now
		return e.giveUp
	case c.leads && c.holder() == "" && now.Before(c.left):
		c.at = c.left
	case c.leads:
		c.tell(Tenure{})
	}
	if c.ended && c.lease != nil { // somebody removes it, when it is nobody's any more
		from := c.free(now, now)
		if from.Before(c.asked) {
			from = c.asked
		}
		if c.at = from.Add(e.spread(c.name)); !c.at.After(now) {
			return e.delete
		}
	}
	return nil
}

// spread is how long this process waits before it takes a Lease that others
// may take as well.
func (e *Elections) spread(lease string) time.Duration {
	sum := fnv.New64a()
	sum.Write([]byte(lease + "\x00" + e.options.Identity))
	const longest = 500 * time.Millisecond
	// The sum's high bits hardly depend on the last bytes, see FNV.
	return time.Duration(sum.Sum64() * 0x9e3779b97f4a7c15 >> 32 % uint64(min(longest, e.options.Retry/2)+1))
}

// renewal is how much time is between two renewals.
func (e *Elections) renewal() time.Duration { return max(e.options.Retry, e.options.Duration/3) }

// read finds out whether the API server answers.
func (e *Elections) read(name string) write {
	return func(ctx context.Context, _ *coordinationv1.Lease) (*coordinationv1.Lease, error) {
		return Get(ctx, e.client, Leases, model.Name{Namespace: e.options.Namespace, Name: name})
	}
}

// take takes or renews a Lease.
func (e *Elections) take(name string) write {
	return func(ctx context.Context, have *coordinationv1.Lease) (*coordinationv1.Lease, error) {
		put := Update[*coordinationv1.Lease]
		if have == nil {
			put, have = Create, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: e.options.Namespace, Name: name}}
		}
		want := claimed(have, e.options.Identity, e.options.Duration)
		metav1.SetMetaDataLabel(&want.ObjectMeta, e.options.Label, "")
		return put(ctx, e.client, Leases, want)
	}
}

func (e *Elections) giveUp(ctx context.Context, have *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	free := have.DeepCopy()
	free.Spec.HolderIdentity = new(string)
	return Update(ctx, e.client, Leases, free)
}

func (e *Elections) delete(ctx context.Context, have *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	return nil, Delete(ctx, e.client, Leases, model.Name{Namespace: have.Namespace, Name: have.Name}, have.UID)
}

func (c *contest) holder() string {
	if c.lease == nil {
		return ""
	}
	return valueOf(c.lease.Spec.HolderIdentity)
}

// free is since when, or from when on, anybody may take the Lease.
func (c *contest) free(now, asked time.Time) time.Time {
	switch {
	case c.lease == nil:
		return asked
	case c.holder() == "":
		return c.since
	}
	return c.since.Add(time.Duration(valueOf(c.lease.Spec.LeaseDurationSeconds)) * time.Second)
}

// see takes note of a Lease, unless it is older than the one that is known.
func (c *contest) see(lease *coordinationv1.Lease) {
	if lease != nil && c.lease != nil && !older(c.lease, lease) {
		return
	}
	c.lease, c.since = lease, time.Now()
}

// tell is what became of the Lease.
func (c *contest) tell(t Tenure) {
	if c.leads = t.Held; !t.Held {
		c.begun = time.Time{}
	}
	c.news = append(c.news, t)
}

// claimed is a Lease as its leader writes it; have may be new.
func claimed(have *coordinationv1.Lease, identity string, duration time.Duration) *coordinationv1.Lease {
	want, now := have.DeepCopy(), metav1.NewMicroTime(time.Now())
	seconds := int32(max(1, duration/time.Second))
	transitions := valueOf(have.Spec.LeaseTransitions)
	if valueOf(have.Spec.HolderIdentity) != identity {
		want.Spec.AcquireTime = &now
		if have.ResourceVersion != "" {
			transitions++
		}
	}
	want.Spec.HolderIdentity, want.Spec.LeaseDurationSeconds = &identity, &seconds
	want.Spec.RenewTime, want.Spec.LeaseTransitions = &now, &transitions
	return want
}
