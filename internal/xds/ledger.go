package xds

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/waggle-mesh/waggle/internal/model"
)

// tellDelay is how long a resource may be pending before that is told. Envoy
// answers within a few milliseconds, so most are told of once, as Accepted,
// and not as Pending before.
const tellDelay = 20 * time.Millisecond

// answer is what one Envoy said of one version of a resource.
type answer struct {
	hash    string
	state   model.OutcomeState
	message string
}

// ledger knows which resources may have a new outcome, and which outcomes
// have been told. Server.mu guards it.
//
//	touched ── settle ──▶ due ── untold ──▶ told
//	            └──▶ unaccepted
type ledger struct {
	touched    map[model.ResourceKey]struct{}  // to be looked at again
	unaccepted map[model.ResourceKey]struct{}  // all that are not accepted are here, touched or doubted
	doubted    map[model.ResourceType]struct{} // of which another Envoy wants resources since
	due        map[model.ResourceKey]struct{}  // with an outcome other than the one told
	told       map[model.ResourceKey]verdict
	late       *time.Timer   // ends tellDelay; nil: there is no Serve
	bell       chan struct{} // rung when something is due
}

// verdict is what became of a version of a resource over all Envoys.
type verdict struct {
	of      *resource // nil: there has been none
	state   model.OutcomeState
	message string
}

func (v verdict) owners() []model.Ref {
	if v.of == nil {
		return nil
	}
	return v.of.owners
}

// same tells whether there is nothing new in v for whoever was told old.
func (v verdict) same(old verdict) bool {
	return v.state == old.state && v.message == old.message && slices.Equal(v.owners(), old.owners())
}

func newLedger() ledger {
	return ledger{
		touched:    map[model.ResourceKey]struct{}{},
		unaccepted: map[model.ResourceKey]struct{}{},
		doubted:    map[model.ResourceType]struct{}{},
		due:        map[model.ResourceKey]struct{}{},
		told:       map[model.ResourceKey]verdict{},
		bell:       make(chan struct{}, 1),
	}
}

func (l *ledger) touch(k model.ResourceKey) {
	if len(l.touched) == 0 && l.late != nil {
		l.late.Reset(tellDelay)
	}
	l.touched[k] = struct{}{}
}

// Status is one resource as `waggle status` shows it.
type Status struct {
	model.ResourceKey
	Version string // a hash of the content
	State   model.OutcomeState
	Message string      // Envoy's words, if rejected
	Owners  []model.Ref // shared: nobody changes them
	// Wanted: an Envoy is connected that has asked for it, or is to get it
	// unasked.
	Wanted bool
}

// Snapshot returns the state of every desired resource, in the order of the
// model's types, then by name.
func (s *Server) Snapshot() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Status
	for _, t := range types {
		from := len(all)
		for name, r := range s.desired[t] {
			all = append(all, s.status(model.ResourceKey{Type: t, Name: name}, r))
		}
		slices.SortFunc(all[from:], func(a, b Status) int { return strings.Compare(a.Name, b.Name) })
	}
	return all
}

// Unaccepted returns the state of every desired resource that is not accepted,
// in no order. It costs what these are, however many others there are.
func (s *Server) Unaccepted() (some []Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.ledger
	for k := range l.touched {
		l.unaccepted[k] = struct{}{}
	}
	for t := range l.doubted {
		for name := range s.desired[t] {
			l.unaccepted[model.ResourceKey{Type: t, Name: name}] = struct{}{}
		}
	}
	clear(l.doubted)
	for k := range l.unaccepted {
		r := s.desired[k.Type][k.Name]
		if r == nil || s.verdict(k, r).state == model.Accepted {
			delete(l.unaccepted, k)
		} else {
			some = append(some, s.status(k, r))
		}
	}
	if len(some) == 0 {
		l.unaccepted = map[model.ResourceKey]struct{}{} // to walk it costs what it once held
	}
	return some
}

// status is called with mu held.
func (s *Server) status(k model.ResourceKey, r *resource) Status {
	v := s.verdict(k, r)
	return Status{ResourceKey: k, Version: r.hash, State: v.state, Message: v.message, Owners: r.owners, Wanted: s.wanted(k)}
}

// wanted is asked with mu held.
func (s *Server) wanted(k model.ResourceKey) bool {
	for st := range s.streams {
		if _, has := st.answers[k]; has || st.expects(k) {
			return true
		}
	}
	return false
}

// State returns the state of one resource; empty if it is not desired.
func (s *Server) State(k model.ResourceKey) model.OutcomeState {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.desired[k.Type][k.Name]; r != nil {
		return s.verdict(k, r).state
	}
	return ""
}

// Connected returns the number of Envoys that are connected.
func (s *Server) Connected() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams)
}

// verdict combines what the Envoys that want k said of r: the worst counts.
// Where there is no Envoy, nobody serves it: what was acknowledged is pending
// until one says that it has it. A rejection that was told stands until there
// is another answer, which will most likely be the same. The caller holds mu.
func (s *Server) verdict(k model.ResourceKey, r *resource) verdict {
	now := verdict{of: r, state: model.Pending}
	accepted, pending := false, false
	for st := range s.streams {
		a, has := st.answers[k]
		switch {
		case !has:
			pending = pending || st.expects(k)
		case a.hash != r.hash || a.state == model.Pending:
			pending = true
		case a.state == model.Rejected:
			now.state = model.Rejected
			now.message = max(now.message, a.message)
		default:
			accepted = true
		}
	}
	if told := s.ledger.told[k]; now.state == model.Pending && accepted && !pending {
		now.state = model.Accepted
	} else if told.state == model.Rejected && now.state == model.Pending && told.of.hash == r.hash {
		now.state, now.message = told.state, told.message
	}
	return now
}

// expects tells whether an Envoy that has not got k wants it all the same:
// every cluster and listener, and what is in a collection that it looks into.
// What it wants by name it has been sent. The caller holds Server.mu.
func (st *stream) expects(k model.ResourceKey) bool {
	if slices.Contains(expected, k.Type) {
		return true
	}
	if _, all := st.joined[model.ResourceKey{Type: k.Type, Name: "*"}]; all {
		return true
	}
	collection, ok := collectionOf(k.Name)
	if ok {
		_, ok = st.joined[model.ResourceKey{Type: k.Type, Name: collection}]
	}
	return ok
}

// settle finds out which touched resources have an outcome to be told. Those
// that are pending stay touched, unless all are to be told.
func (s *Server) settle(all bool) {
	l := &s.ledger
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range l.touched {
		r := s.desired[k.Type][k.Name]
		if r == nil {
			delete(l.told, k)
			delete(l.touched, k)
			delete(l.unaccepted, k)
			continue
		}
		now := s.verdict(k, r)
		if now.state == model.Accepted {
			delete(l.unaccepted, k)
		} else {
			l.unaccepted[k] = struct{}{}
		}
		switch {
		case now.same(l.told[k]):
			l.told[k] = now // of another version
		case now.state != model.Pending || all:
			l.due[k] = struct{}{}
		default:
			continue
		}
		delete(l.touched, k)
	}
	if len(l.touched) == 0 {
		l.touched = map[model.ResourceKey]struct{}{} // to walk it costs what it once held
		if l.late != nil {
			l.late.Stop()
		}
	}
	if len(l.due) > 0 {
		select {
		case l.bell <- struct{}{}:
		default:
		}
	}
}

// tell sends outcomes to whoever receives from Outcomes, until ctx ends.
func (s *Server) tell(ctx context.Context) {
	s.mu.Lock()
	s.ledger.late = time.AfterFunc(tellDelay, func() { s.settle(true) })
	s.mu.Unlock()
	defer s.ledger.late.Stop()
	for {
		select {
		case <-s.ledger.bell:
		case <-ctx.Done():
			return
		}
		batch := s.untold()
		if len(batch) == 0 {
			continue
		}
		select {
		case s.outcomes <- batch:
		case <-ctx.Done():
			return
		}
	}
}

// untold takes the outcomes that are to be told, sorted by type and name.
func (s *Server) untold() []model.Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	var batch []model.Outcome
	for k := range s.ledger.due {
		r := s.desired[k.Type][k.Name]
		if r == nil {
			continue // touched again, when it went
		}
		now := s.verdict(k, r)
		if !now.same(s.ledger.told[k]) {
			batch = append(batch, model.Outcome{ResourceKey: k, State: now.state, Message: now.message, Owners: now.owners()})
		}
		s.ledger.told[k] = now
	}
	s.ledger.due = map[model.ResourceKey]struct{}{} // to clear it costs what it once held
	slices.SortFunc(batch, func(a, b model.Outcome) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name))
	})
	return batch
}
