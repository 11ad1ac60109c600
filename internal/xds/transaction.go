package xds

import (
	"time"

	"github.com/waggle-mesh/waggle/internal/model"
)

const (
	// patience bounds every wait for an acknowledgement. A cluster that never
	// becomes warm keeps Envoy from acknowledging any cluster.
	patience = 2 * time.Second
	// grace is how long a cluster stays after its last mention: retries and
	// mirrors of requests under way may still need it.
	grace = 2 * time.Second
)

// A transaction brings an Envoy from one state to the next without a moment
// in which it is told to use what it lacks. Each step waits until Envoy has
// answered it, or for patience; a step with nothing to do is passed over.
//
//	clusters, then their endpoints ─▶ secrets, extensions, routes ─▶
//	scoped routes, listeners ─▶ listeners and scoped routes that are gone ─▶
//	after grace: clusters that are gone
type transaction struct {
	step     int                 // of steps; len(steps): none under way
	awaited  map[string]struct{} // nonces of the step that are not answered
	deadline time.Time           // of the wait
	// clustersSilent: Envoy did not acknowledge a cluster in time, so a
	// missing acknowledgement says nothing about the clusters after it.
	clustersSilent bool

	leaving  map[string]time.Time // clusters to remove, and when
	freed    bool                 // listeners were removed, so ports are free
	retries  map[string]retry     // rejected listeners
	reloaded map[string]struct{}  // endpoints to send whatever Envoy says it has
}

// steps are the types to send in each step; the step after them removes.
var steps = [][]model.ResourceType{
	{model.Cluster, model.ClusterLoadAssignment},
	{model.Secret, model.ExtensionConfig, model.RouteConfiguration},
	{model.ScopedRoute, model.EnvoyListener},
	{}, // removals
}

const removals = 3

// progress does all that can be done without waiting.
func (st *stream) progress(now time.Time) {
	st.sendAnytime()
	for {
		if st.step < len(steps) {
			if st.waiting(now) {
				// Subscriptions to types whose step is over, or has come.
				st.sendUpTo(st.step)
				break
			}
			st.step++
			st.retryFreed(now)
		} else if !st.begin() {
			break
		}
		clear(st.awaited)
		st.runStep(now)
	}
	st.removeClusters(now)
	st.retryListeners(now)
}

// begin starts a transaction if there is anything to do.
func (st *stream) begin() bool {
	for k, r := range st.next {
		st.take(k, r)
	}
	clear(st.next)
	for _, sub := range st.types {
		if len(sub.pending) > 0 || len(sub.gone) > 0 || sub.greet {
			st.step = 0
			return true
		}
	}
	return false
}

func (st *stream) runStep(now time.Time) {
	switch {
	case st.step < removals:
		for _, t := range steps[st.step] {
			st.flush(t)
		}
	case st.step == removals:
		st.removeListeners(now)
	}
	st.deadline = now.Add(patience)
}

// waiting tells whether the step's answers are still to be waited for.
func (st *stream) waiting(now time.Time) bool {
	if len(st.awaited) == 0 {
		return false
	}
	if now.Before(st.deadline) {
		return !st.clustersSilent || !st.endpointsKnown()
	}
	for nonce := range st.awaited {
		if st.flights[nonce].typ == model.Cluster {
			st.clustersSilent = true
		}
	}
	st.log.Warn("Envoy has not answered in time; going on without", "step", st.step, "responses", len(st.awaited))
	return false
}

// endpointsKnown tells whether, of what the step waits for, only clusters are
// unanswered, and Envoy has their endpoints: the best there is while an
// earlier cluster keeps it from acknowledging.
func (st *stream) endpointsKnown() bool {
	endpoints := st.types[model.ClusterLoadAssignment]
	for nonce := range st.awaited {
		f := st.flights[nonce]
		if f.typ != model.Cluster {
			return false
		}
		for _, r := range f.resources {
			name := endpointsOf(r)
			if name == "" {
				continue
			}
			if endpoints == nil || endpoints.held[name] == nil || endpoints.held[name].good == nil {
				return false
			}
		}
	}
	return true
}

// sendAnytime sends what depends on nothing: endpoints at any time, and
// secrets that a warming cluster or listener asks for.
func (st *stream) sendAnytime() {
	st.aside(func() {
		st.flush(model.ClusterLoadAssignment)
		if sub := st.types[model.Secret]; sub != nil {
			st.sendPending(sub, sub.takeAsked())
		}
	})
}

// sendUpTo sends what has become pending in steps that have been run.
func (st *stream) sendUpTo(step int) {
	st.aside(func() {
		for i := 0; i <= step && i < removals; i++ {
			for _, t := range steps[i] {
				st.flush(t)
			}
		}
	})
}

// aside sends without making the transaction wait for the answers.
func (st *stream) aside(send func()) {
	awaited := st.awaited
	st.awaited = map[string]struct{}{}
	send()
	st.awaited = awaited
}

// nextAlarm returns when progress must be called though nothing happens; zero
// if never.
func (st *stream) nextAlarm() time.Time {
	var at time.Time
	sooner := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	if st.step < len(steps) && len(st.awaited) > 0 {
		sooner(st.deadline)
	}
	for _, t := range st.leaving {
		sooner(t)
	}
	for _, r := range st.retries {
		sooner(r.at)
	}
	return at
}
