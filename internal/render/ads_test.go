package render_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/waggle-mesh/waggle/internal/model"
)

// sendOrder is that of the constants in model: each type may refer to those
// before it.
var sendOrder = []model.ResourceType{
	model.Cluster, model.ClusterLoadAssignment, model.Secret, model.ExtensionConfig,
	model.RouteConfiguration, model.ScopedRoute, model.EnvoyListener,
}

// ads is the least control plane that these tests can do with: it sends what
// is asked for and remembers what Envoy refused.
type ads struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer

	mu        sync.Mutex
	resources map[model.ResourceType]map[string][]byte
	stream    *adsStream
	rejected  map[string]string // type and names of a response: Envoy's words
	acked     chan struct{}     // closed and replaced at every answer
}

type adsStream struct {
	send    func(*discoveryv3.DeltaDiscoveryResponse) error
	subs    map[model.ResourceType]*subscription
	pending map[string][]model.ResourceKey // by nonce
	nonce   int
}

type subscription struct {
	names map[string]bool // may end in "*"; "*" alone: all
	sent  map[string]string
}

func (s *subscription) wants(name string) bool {
	for n := range s.names {
		if prefix, glob := strings.CutSuffix(n, "*"); n == name || glob && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// resource is what a response holds of a resource, which counts as sent.
func (s *subscription) resource(t model.ResourceType, name string, body []byte) *discoveryv3.Resource {
	s.sent[name] = string(body)
	return &discoveryv3.Resource{Name: name, Version: "1", Resource: &anypb.Any{TypeUrl: t.TypeURL(), Value: body}}
}

func newADS() *ads {
	return &ads{
		resources: map[model.ResourceType]map[string][]byte{},
		rejected:  map[string]string{},
		acked:     make(chan struct{}),
	}
}

// serve answers on a UNIX socket until stop is called.
func (a *ads) serve(socket string) (stop func(), err error) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	server := grpc.NewServer()
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(server, a)
	go server.Serve(l)
	return server.Stop, nil
}

// set adds or replaces resources, or removes those without a body, and gives
// what Envoy said against them once it has answered everything.
func (a *ads) set(ctx context.Context, resources ...model.Resource) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range resources {
		if a.resources[r.Type] == nil {
			a.resources[r.Type] = map[string][]byte{}
		}
		if r.Body == nil {
			delete(a.resources[r.Type], r.Name)
		} else {
			a.resources[r.Type][r.Name] = r.Body
		}
		delete(a.rejected, r.Key())
	}
	for _, t := range sendOrder {
		if err := a.push(t); err != nil {
			return err
		}
		for a.stream == nil || len(a.stream.pending) > 0 {
			answered := a.acked
			a.mu.Unlock()
			select {
			case <-answered:
			case <-ctx.Done():
			}
			a.mu.Lock()
			if ctx.Err() != nil {
				return fmt.Errorf("wait for %v: %w", t, ctx.Err())
			}
		}
	}
	return a.complaint(resources)
}

// rejection gives what Envoy has said against resources by now.
func (a *ads) rejection(resources ...model.Resource) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.complaint(resources)
}

func (a *ads) complaint(resources []model.Resource) error {
	for _, r := range resources {
		if said := a.rejected[r.Key()]; said != "" {
			return fmt.Errorf("%s: %s", r.Key(), said)
		}
	}
	return nil
}

// push sends what the stream wants of a type and does not have: scopes all
// at once, everything else in responses of their own, so that a rejection
// names its resource.
func (a *ads) push(t model.ResourceType) error {
	if a.stream == nil || a.stream.subs[t] == nil {
		return nil
	}
	sub := a.stream.subs[t]
	var changed []*discoveryv3.Resource
	for _, name := range slices.Sorted(maps.Keys(a.resources[t])) {
		if body := a.resources[t][name]; sub.wants(name) && sub.sent[name] != string(body) {
			changed = append(changed, sub.resource(t, name, body))
		}
	}
	batch := 1
	if t == model.ScopedRoute {
		batch = max(1, len(changed))
	}
	for part := range slices.Chunk(changed, batch) {
		if err := a.respond(t, &discoveryv3.DeltaDiscoveryResponse{Resources: part}); err != nil {
			return err
		}
	}
	for name := range maps.Clone(sub.sent) {
		if a.resources[t][name] == nil {
			delete(sub.sent, name)
			if err := a.respond(t, &discoveryv3.DeltaDiscoveryResponse{RemovedResources: []string{name}}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *ads) respond(t model.ResourceType, r *discoveryv3.DeltaDiscoveryResponse) error {
	a.stream.nonce++
	r.TypeUrl, r.Nonce = t.TypeURL(), fmt.Sprint(a.stream.nonce)
	keys := []model.ResourceKey{}
	for _, res := range r.Resources {
		keys = append(keys, model.ResourceKey{Type: t, Name: res.Name})
	}
	a.stream.pending[r.Nonce] = keys
	return a.stream.send(r)
}

// DeltaAggregatedResources serves Envoy's one stream.
func (a *ads) DeltaAggregatedResources(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	s := &adsStream{send: stream.Send, subs: map[model.ResourceType]*subscription{}, pending: map[string][]model.ResourceKey{}}
	for {
		request, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := a.receive(s, request); err != nil {
			return err
		}
	}
}

func (a *ads) receive(s *adsStream, request *discoveryv3.DeltaDiscoveryRequest) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stream = s
	t := model.ResourceType(strings.TrimPrefix(request.TypeUrl, "type.googleapis.com/"))
	for _, key := range s.pending[request.ResponseNonce] {
		if request.ErrorDetail != nil {
			a.rejected[key.Key()] = request.ErrorDetail.Message
		}
	}
	delete(s.pending, request.ResponseNonce)
	sub := s.subs[t]
	if sub == nil {
		sub = &subscription{names: map[string]bool{}, sent: map[string]string{}}
		s.subs[t] = sub
		if len(request.ResourceNamesSubscribe) == 0 {
			sub.names["*"] = true
			// Envoy goes on to listeners after the first word on clusters.
			if err := a.respond(t, &discoveryv3.DeltaDiscoveryResponse{}); err != nil {
				return err
			}
		}
	}
	var err error
	for _, name := range request.ResourceNamesSubscribe {
		sub.names[name] = true
		if strings.HasSuffix(name, "*") {
			err = errors.Join(err, a.push(t))
		} else if body := a.resources[t][name]; body != nil {
			err = errors.Join(err, a.respond(t, &discoveryv3.DeltaDiscoveryResponse{Resources: []*discoveryv3.Resource{sub.resource(t, name, body)}}))
		} else {
			err = errors.Join(err, a.respond(t, &discoveryv3.DeltaDiscoveryResponse{RemovedResources: []string{name}}))
		}
	}
	for _, name := range request.ResourceNamesUnsubscribe {
		delete(sub.names, name)
		delete(sub.sent, name)
	}
	if sub.names["*"] {
		err = errors.Join(err, a.push(t))
	}
	close(a.acked)
	a.acked = make(chan struct{})
	return err
}
