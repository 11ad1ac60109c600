package xds

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/waggle-mesh/waggle/internal/model"
)

// short are the names that scripts use for types.
var short = map[string]model.ResourceType{
	"CDS": model.Cluster, "EDS": model.ClusterLoadAssignment, "SDS": model.Secret, "ECDS": model.ExtensionConfig,
	"RDS": model.RouteConfiguration, "SRDS": model.ScopedRoute, "LDS": model.EnvoyListener,
}

func shortOf(url string) string {
	for s, t := range short {
		if t.TypeURL() == url {
			return s
		}
	}
	return url
}

// script is a server, in a synctest bubble, and what a test does to it.
type script struct {
	t      *testing.T
	server *Server
	ctx    context.Context
}

// scripted runs f in a bubble with a server that is ready if state is given.
func scripted(t *testing.T, f func(s *script)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &script{t: t, server: NewServer(slog.New(slog.NewTextHandler(io.Discard, nil))), ctx: ctx}
		var running sync.WaitGroup
		running.Go(func() { s.server.tell(ctx) })
		f(s)
		cancel()
		running.Wait()
		synctest.Wait()
	})
}

// update reads "CDS a=1" (resource a has content 1), "CDS a=1 asks b" (for the
// endpoints named b) and "CDS a" (a is gone).
func (s *script) update(lines ...string) {
	s.t.Helper()
	var changed []model.Resource
	var removed []model.ResourceKey
	for _, line := range lines {
		typ, rest, _ := strings.Cut(line, " ")
		name, content, set := strings.Cut(rest, "=")
		k := model.ResourceKey{Type: short[typ], Name: name}
		if set {
			changed = append(changed, model.Resource{ResourceKey: k, Body: body(s.t, k, content), Owners: []model.Ref{{Kind: "Test", Name: model.Name{Name: content}}}})
		} else {
			removed = append(removed, k)
		}
	}
	s.server.Update(changed, removed)
	synctest.Wait()
}

// ready makes the state complete.
func (s *script) ready(lines ...string) {
	s.t.Helper()
	s.update(lines...)
	s.server.Ready()
}

// body is a message for clusters, which the server looks into, and text for
// the rest.
func body(t *testing.T, k model.ResourceKey, content string) []byte {
	if k.Type != model.Cluster {
		return []byte(content)
	}
	content, endpoints, _ := strings.Cut(content, " asks ")
	c := &clusterv3.Cluster{
		Name:                 k.Name,
		EdsClusterConfig:     &clusterv3.Cluster_EdsClusterConfig{ServiceName: endpoints},
		AltStatName:          content,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func hashOf(t *testing.T, typ, name, content string) string {
	k := model.ResourceKey{Type: short[typ], Name: name}
	return newResource(model.Resource{ResourceKey: k, Body: body(t, k, content)}).hash
}

// states gives "RDS r Accepted" for every desired resource that has one of the
// types. Those that are not accepted must be Unaccepted.
func (s *script) states(types ...string) []string {
	s.t.Helper()
	unaccepted := map[model.ResourceKey]Status{}
	for _, st := range s.server.Unaccepted() {
		unaccepted[st.ResourceKey] = st
	}
	var out []string
	for _, st := range s.server.Snapshot() {
		switch other, listed := unaccepted[st.ResourceKey]; {
		case listed != (st.State != model.Accepted):
			s.t.Errorf("%v is %s, and among the unaccepted: %t", st.ResourceKey, st.State, listed)
		case listed && !reflect.DeepEqual(st, other):
			s.t.Errorf("%+v among all is %+v among the unaccepted", st, other)
		}
		typ := shortOf(st.Type.TypeURL())
		if slices.Contains(types, typ) {
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", typ, st.Name, st.State, st.Message)))
		}
	}
	return out
}

// outcomes gives what was told since the last call, one string a batch.
func (s *script) outcomes() []string {
	var batches []string
	for {
		synctest.Wait()
		select {
		case batch := <-s.server.Outcomes():
			var lines []string
			for _, o := range batch {
				lines = append(lines, fmt.Sprintf("%s %s %s %v %s", shortOf(o.Type.TypeURL()), o.Name, o.State, o.Owners, o.Message))
			}
			batches = append(batches, strings.Join(lines, "; "))
		default:
			return batches
		}
	}
}

// fakeEnvoy is the other end of a stream. It does nothing by itself.
type fakeEnvoy struct {
	grpc.ServerStream
	s      *script
	ctx    context.Context
	leave  context.CancelFunc
	in     chan *discovery.DeltaDiscoveryRequest
	ended  chan struct{}
	stall  chan struct{} // if not nil, Send waits until it is closed
	mu     sync.Mutex
	out    []*discovery.DeltaDiscoveryResponse
	nonces map[string]*discovery.DeltaDiscoveryResponse // by "CDS +a" and by "CDS -a", last
}

func (s *script) connect() *fakeEnvoy {
	ctx, leave := context.WithCancel(s.ctx)
	e := &fakeEnvoy{s: s, ctx: ctx, leave: leave, in: make(chan *discovery.DeltaDiscoveryRequest), ended: make(chan struct{}), nonces: map[string]*discovery.DeltaDiscoveryResponse{}}
	go func() {
		defer close(e.ended)
		s.server.DeltaAggregatedResources(e)
	}()
	return e
}

func (e *fakeEnvoy) Context() context.Context { return e.ctx }

func (e *fakeEnvoy) Recv() (*discovery.DeltaDiscoveryRequest, error) {
	select {
	case req := <-e.in:
		return req, nil
	case <-e.ctx.Done():
		return nil, e.ctx.Err()
	}
}

func (e *fakeEnvoy) Send(r *discovery.DeltaDiscoveryResponse) error {
	if e.stall != nil {
		select {
		case <-e.stall:
		case <-e.ctx.Done():
			return e.ctx.Err()
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.out = append(e.out, r)
	return nil
}

func (e *fakeEnvoy) disconnect() {
	e.leave()
	<-e.ended
	synctest.Wait()
}

// ask subscribes; "a=1" says that Envoy has content 1 of a.
func (e *fakeEnvoy) ask(typ string, names ...string) {
	e.request(typ, false, names...)
}

// askAll is ask for a wildcard: names are only what Envoy has.
func (e *fakeEnvoy) askAll(typ string, names ...string) {
	e.request(typ, true, names...)
}

func (e *fakeEnvoy) request(typ string, all bool, names ...string) {
	var wanted []string
	for _, n := range names {
		if name, _, _ := strings.Cut(n, "="); !all {
			wanted = append(wanted, name)
		}
	}
	e.subscribe(typ, wanted, names)
}

// subscribe asks for names, and says what Envoy has: "a=1".
func (e *fakeEnvoy) subscribe(typ string, names, has []string) {
	req := &discovery.DeltaDiscoveryRequest{
		Node: &corev3.Node{Id: "fake"}, TypeUrl: short[typ].TypeURL(), InitialResourceVersions: map[string]string{},
		ResourceNamesSubscribe: names,
	}
	for _, n := range has {
		if name, content, ok := strings.Cut(n, "="); ok {
			req.InitialResourceVersions[name] = hashOf(e.s.t, typ, name, content)
		}
	}
	e.in <- req
	synctest.Wait()
}

func (e *fakeEnvoy) unsubscribe(typ, name string) {
	e.in <- &discovery.DeltaDiscoveryRequest{TypeUrl: short[typ].TypeURL(), ResourceNamesUnsubscribe: []string{name}}
	synctest.Wait()
}

// got returns what was sent since the last call, a string a response: "CDS +a
// -b".
func (e *fakeEnvoy) got() []string {
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	var lines []string
	for _, r := range e.out {
		line := shortOf(r.TypeUrl)
		for _, res := range r.Resources {
			line += " +" + res.Name
		}
		for _, name := range r.RemovedResources {
			line += " -" + name
		}
		e.nonces[line] = r
		lines = append(lines, line)
	}
	e.out = nil
	return lines
}

// ack acknowledges the last response that got called so.
func (e *fakeEnvoy) ack(line string) { e.answer(line, "") }

func (e *fakeEnvoy) nack(line, message string) { e.answer(line, message) }

func (e *fakeEnvoy) answer(line, message string) {
	e.s.t.Helper()
	r := e.nonces[line]
	if r == nil {
		e.s.t.Fatalf("nothing like %q was sent", line)
	}
	delete(e.nonces, line)
	req := &discovery.DeltaDiscoveryRequest{TypeUrl: r.TypeUrl, ResponseNonce: r.Nonce}
	if message != "" {
		req.ErrorDetail = &status.Status{Code: 13, Message: message}
	}
	e.in <- req
	synctest.Wait()
}

// want fails unless exactly lines were sent since the last look.
func (e *fakeEnvoy) want(lines ...string) {
	e.s.t.Helper()
	if got := e.got(); !slices.Equal(got, lines) {
		e.s.t.Fatalf("sent %q, want %q", got, lines)
	}
}

// wantAck is want, and acknowledges each.
func (e *fakeEnvoy) wantAck(lines ...string) {
	e.s.t.Helper()
	e.want(lines...)
	for _, line := range lines {
		e.ack(line)
	}
}

// settled connects an Envoy that has cluster c, route table r and listener l,
// each with content 1, and has acknowledged them.
func (s *script) settled() *fakeEnvoy {
	s.t.Helper()
	s.ready("CDS c=1", "EDS c=1", "RDS r=1 uses c", "LDS l=1")
	e := s.connect()
	e.askAll("CDS")
	e.want("CDS +c")
	e.ask("EDS", "c")
	e.wantAck("EDS +c")
	e.ack("CDS +c")
	e.askAll("LDS")
	e.wantAck("LDS +l")
	e.ask("RDS", "r")
	e.wantAck("RDS +r")
	e.want()
	return e
}
