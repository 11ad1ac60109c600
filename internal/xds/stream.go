package xds

import (
	"errors"
	"io"
	"log/slog"
	"strconv"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/waggle-mesh/waggle/internal/model"
)

// stream is one Envoy's connection. One goroutine (run) owns everything but
// dirty, answers and joined, which Server.mu guards.
type stream struct {
	server *Server
	conn   discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
	log    *slog.Logger
	peer   arrived
	bell   chan struct{} // rung by wake

	dirty   map[model.ResourceKey]struct{} // changed since the stream last looked
	answers map[model.ResourceKey]answer   // of resources that this Envoy wants
	joined  map[model.ResourceKey]struct{} // the collections it looks into, "*" for all of a type

	// target is what this Envoy is being brought to: the desired state as it
	// was when the transaction began. next is what has changed since.
	target catalog
	next   map[model.ResourceKey]*resource // nil: removed

	types   map[model.ResourceType]*subscription
	flights map[string]flight // sent and not answered, by nonce
	nonce   int
	failed  error // of the first send that failed

	transaction
}

// flight is one response on its way.
type flight struct {
	typ       model.ResourceType
	resources map[string]*resource // nil: told that there is none
}

func newStream(s *Server, conn discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer, log *slog.Logger) *stream {
	return &stream{
		server:  s,
		conn:    conn,
		log:     log,
		peer:    arrivedBy(conn.Context()),
		bell:    make(chan struct{}, 1),
		dirty:   map[model.ResourceKey]struct{}{},
		answers: map[model.ResourceKey]answer{},
		joined:  map[model.ResourceKey]struct{}{},
		target:  catalog{},
		next:    map[model.ResourceKey]*resource{},
		types:   map[model.ResourceType]*subscription{},
		flights: map[string]flight{},
		transaction: transaction{
			step:     len(steps),
			awaited:  map[string]struct{}{},
			leaving:  map[string]time.Time{},
			retries:  map[string]retry{},
			reloaded: map[string]struct{}{},
		},
	}
}

// wake makes run look at dirty.
func (st *stream) wake() {
	select {
	case st.bell <- struct{}{}:
	default:
	}
}

// run serves the stream until Envoy leaves.
func (st *stream) run() error {
	var in inbox
	in.bell = make(chan struct{}, 1)
	// Recv ends when the stream does, which is after run has returned; so the
	// goroutine is not waited for.
	go in.fill(st.conn)
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	for st.failed == nil {
		select {
		case <-in.bell:
		case <-st.bell:
		case <-alarm.C:
		}
		requests, err := in.take()
		for _, req := range requests {
			st.receive(req)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		st.look()
		st.progress(time.Now())
		if len(st.flights) == 0 { // Envoy has said a word on everything
			st.server.settle(false)
		}
		if at := st.nextAlarm(); !at.IsZero() {
			alarm.Reset(time.Until(at))
		} else {
			alarm.Stop()
		}
	}
	return st.failed
}

// look takes what has changed in the desired state. Endpoints depend on
// nothing, so they enter the target at once; the rest waits for the next
// transaction.
func (st *stream) look() {
	st.server.mu.Lock()
	defer st.server.mu.Unlock()
	for k := range st.dirty {
		r := st.server.desired[k.Type][k.Name]
		if k.Type == model.ClusterLoadAssignment {
			st.take(k, r)
			continue
		}
		st.next[k] = r
	}
	clear(st.dirty)
}

// take makes r part of the target.
func (st *stream) take(k model.ResourceKey, r *resource) {
	st.target.put(k, r)
	if sub := st.types[k.Type]; sub != nil && sub.wants(k.Name) {
		sub.pending[k.Name] = struct{}{}
	}
}

// receive takes a request: an answer, a subscription, or both.
func (st *stream) receive(req *discovery.DeltaDiscoveryRequest) {
	t := typeFromURL(req.TypeUrl)
	sub := st.types[t]
	if sub == nil {
		if len(st.types) == 0 && req.Node != nil {
			st.log = st.log.With("node", req.Node.Id)
			st.log.Info("Envoy connected")
		}
		sub = st.subscribe(t, req)
	} else if req.ResponseNonce != "" {
		st.answered(sub, req)
	}
	st.resubscribe(sub, req)
}

// send sends one response. The caller sees to it that Envoy wants it.
func (st *stream) send(t model.ResourceType, resources map[string]*resource, names []string) {
	st.nonce++
	resp := &discovery.DeltaDiscoveryResponse{TypeUrl: t.TypeURL(), Nonce: strconv.Itoa(st.nonce)}
	sub := st.types[t]
	for _, name := range names {
		r := resources[name]
		if r == nil {
			resp.RemovedResources = append(resp.RemovedResources, name)
			delete(sub.held, name)
			continue
		}
		resp.Resources = append(resp.Resources, &discovery.Resource{Name: name, Version: r.hash, Resource: shifted(t, r.body, st.peer.PortShift)})
		sub.hold(name).sent = r
	}
	st.flights[resp.Nonce] = flight{t, resources}
	st.awaited[resp.Nonce] = struct{}{}
	st.record(t, resources, func(name string, r *resource) answer {
		if old := st.answers[model.ResourceKey{Type: t, Name: name}]; old.hash == r.hash {
			return old // a retry: still rejected until Envoy says otherwise
		}
		return answer{hash: r.hash, state: model.Pending}
	})
	if st.failed == nil {
		st.failed = st.conn.Send(resp)
	}
}

// record enters answers into the ledger; of tells the answer for a resource.
func (st *stream) record(t model.ResourceType, resources map[string]*resource, of func(string, *resource) answer) {
	st.server.mu.Lock()
	defer st.server.mu.Unlock()
	for name, r := range resources {
		k := model.ResourceKey{Type: t, Name: name}
		if r == nil {
			delete(st.answers, k)
		} else {
			st.answers[k] = of(name, r)
		}
		st.server.ledger.touch(k)
	}
}
