package xds

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/waggle-mesh/waggle/internal/model"
)

// tellDelay is how long outcomes are gathered before they are told. Envoy
// answers within a few milliseconds, so most resources are told of once, as
// Accepted, and not as Pending before.
const tellDelay = 20 * time.Millisecond

// answer is what one Envoy said of one version of a resource.
type answer struct {
	hash    string
	state   model.OutcomeState
	message string
}

// ledger keeps what became of each resource over all Envoys. Server.mu guards
// it.
type ledger struct {
	touched map[model.ResourceKey]struct{} // to be looked at again
	known   map[model.ResourceKey]entry
	told    map[model.ResourceKey]model.Outcome
	untold  map[model.ResourceKey]struct{} // where known and told may differ
	bell    chan struct{}                  // rung when something is touched
}

// entry is an outcome and the version it speaks of.
type entry struct {
	hash string
	model.Outcome
}

func newLedger() ledger {
	return ledger{
		touched: map[model.ResourceKey]struct{}{},
		known:   map[model.ResourceKey]entry{},
		told:    map[model.ResourceKey]model.Outcome{},
		untold:  map[model.ResourceKey]struct{}{},
		bell:    make(chan struct{}, 1),
	}
}

func (l *ledger) touch(k model.ResourceKey) {
	l.touched[k] = struct{}{}
	select {
	case l.bell <- struct{}{}:
	default:
	}
}

// Status is one resource as `waggle status` shows it.
type Status struct {
	model.ResourceKey
	Version string // a hash of the content
	State   model.OutcomeState
	Message string // Envoy's words, if rejected
}

// Snapshot returns the state of every desired resource, in the order of the
// model's types, then by name.
func (s *Server) Snapshot() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	var all []Status
	for _, t := range types {
		from := len(all)
		for name, r := range s.desired[t] {
			k := model.ResourceKey{Type: t, Name: name}
			o := s.ledger.known[k]
			all = append(all, Status{ResourceKey: k, Version: r.hash, State: o.State, Message: o.Message})
		}
		slices.SortFunc(all[from:], func(a, b Status) int { return strings.Compare(a.Name, b.Name) })
	}
	return all
}

// State returns the state of one resource; empty if it is not desired.
func (s *Server) State(k model.ResourceKey) model.OutcomeState {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	return s.ledger.known[k].State
}

// Connected returns the number of Envoys that are connected.
func (s *Server) Connected() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams)
}

// settle works out the outcome of every touched resource. The caller holds mu.
func (s *Server) settle() {
	for k := range s.ledger.touched {
		r := s.desired[k.Type][k.Name]
		if r == nil {
			delete(s.ledger.known, k)
			delete(s.ledger.told, k)
			delete(s.ledger.untold, k)
			continue
		}
		s.ledger.known[k] = s.outcome(k, r, s.ledger.known[k])
		s.ledger.untold[k] = struct{}{}
	}
	clear(s.ledger.touched)
}

// outcome combines what the Envoys that want k said of r: the worst counts.
func (s *Server) outcome(k model.ResourceKey, r *resource, old entry) entry {
	now := entry{hash: r.hash, Outcome: model.Outcome{ResourceKey: k, State: model.Pending, Owners: r.owners}}
	if len(s.streams) == 0 {
		if old.hash == r.hash {
			now.State, now.Message = old.State, old.Message
		}
		return now
	}
	accepted, pending := false, false
	for st := range s.streams {
		a, wanted := st.answers[k]
		switch {
		case !wanted && wildcard[k.Type]:
			pending = true // every Envoy wants it, this one has not got it
		case !wanted:
		case a.hash != r.hash || a.state == model.Pending:
			pending = true
		case a.state == model.Rejected:
			now.State = model.Rejected
			now.Message = max(now.Message, a.message)
		default:
			accepted = true
		}
	}
	if now.State == model.Pending && accepted && !pending {
		now.State = model.Accepted
	}
	return now
}

// tell sends outcomes to whoever receives from Outcomes, until ctx ends.
func (s *Server) tell(ctx context.Context) {
	for {
		select {
		case <-s.ledger.bell:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(tellDelay):
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
	s.settle()
	batch := make([]model.Outcome, 0, len(s.ledger.untold))
	for k := range s.ledger.untold {
		now, old := s.ledger.known[k].Outcome, s.ledger.told[k]
		if old.State == now.State && old.Message == now.Message && slices.Equal(old.Owners, now.Owners) {
			continue
		}
		s.ledger.told[k] = now
		batch = append(batch, now)
	}
	clear(s.ledger.untold)
	slices.SortFunc(batch, func(a, b model.Outcome) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name))
	})
	return batch
}
