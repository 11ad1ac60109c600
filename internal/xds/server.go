package xds

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/waggle-mesh/waggle/internal/model"
)

// Server holds the desired state and serves it to every Envoy that connects.
// Its methods may be called from any goroutine.
type Server struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer

	log      *slog.Logger
	ready    chan struct{} // closed by Ready
	setReady sync.Once
	arrival  Arrival // nil: nobody is asked who connects
	outcomes chan []model.Outcome

	mu      sync.Mutex // held for map accesses only, never while sending
	desired catalog
	streams map[*stream]struct{}
	ledger  ledger
	opened  int // streams so far, to tell them apart in the log
}

// resource is one version of one resource. It does not change once made.
type resource struct {
	hash   string     // of the body: the version Envoy is told
	body   *anypb.Any // nil: a version that Envoy has from before this process
	owners []model.Ref
}

// catalog files resources by type and name.
type catalog map[model.ResourceType]map[string]*resource

func (c catalog) put(k model.ResourceKey, r *resource) {
	if r == nil {
		delete(c[k.Type], k.Name)
		return
	}
	if c[k.Type] == nil {
		c[k.Type] = map[string]*resource{}
	}
	c[k.Type][k.Name] = r
}

// NewServer returns a server with an empty desired state, that answers nobody
// before Ready.
func NewServer(log *slog.Logger) *Server {
	return &Server{
		log:      log,
		ready:    make(chan struct{}),
		outcomes: make(chan []model.Outcome),
		desired:  catalog{},
		streams:  map[*stream]struct{}{},
		ledger:   newLedger(),
	}
}

// Update changes the desired state: changed are new or altered resources,
// removed are gone. It returns at once, however slow an Envoy is; what comes
// while an Envoy is being told of earlier updates is merged.
func (s *Server) Update(changed []model.Resource, removed []model.ResourceKey) {
	made := make([]*resource, len(changed))
	for i, r := range changed {
		made[i] = newResource(r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range changed {
		old := s.desired[r.Type][r.Name]
		s.desired.put(r.ResourceKey, made[i])
		s.ledger.touch(r.ResourceKey)
		if old == nil || old.hash != made[i].hash {
			s.markDirty(r.ResourceKey)
		}
	}
	for _, k := range removed {
		s.desired.put(k, nil)
		s.ledger.touch(k)
		s.markDirty(k)
	}
	for st := range s.streams {
		st.wake()
	}
}

// Ready says that the desired state is complete, and lets streams be
// answered. An Envoy that was answered earlier would drop what is missing.
func (s *Server) Ready() { s.setReady.Do(func() { close(s.ready) }) }

// Outcomes delivers what became of each resource. A resource is named again
// only when its state, message or owners have changed; one that was removed
// from the desired state is not named any more. If nobody receives, outcomes
// are merged.
func (s *Server) Outcomes() <-chan []model.Outcome { return s.outcomes }

// Serve answers Envoys that connect to lis, until ctx ends. It closes lis.
func (s *Server) Serve(ctx context.Context, lis net.Listener) error {
	var door credentials.TransportCredentials = insecure.NewCredentials()
	if s.arrival != nil {
		door = doorkeeper{s}
	}
	g := grpc.NewServer(
		grpc.Creds(door), grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(64<<20), // a reconnecting Envoy lists all it holds
		// Windows of a fixed size: else each answer of Envoy's makes gRPC
		// measure the connection, with a ping and a window update.
		grpc.StaticStreamWindowSize(1<<20), grpc.StaticConnWindowSize(1<<20),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
	)
	discovery.RegisterAggregatedDiscoveryServiceServer(g, s)
	var side sync.WaitGroup
	defer side.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	side.Go(func() { s.tell(ctx) })
	side.Go(func() { <-ctx.Done(); g.Stop() })
	if err := g.Serve(lis); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve xDS on %s: %w", lis.Addr(), err)
	}
	return nil
}

// DeltaAggregatedResources serves one Envoy; see the xDS protocol,
// https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol.
func (s *Server) DeltaAggregatedResources(conn discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	select {
	case <-s.ready:
	case <-conn.Context().Done():
		return conn.Context().Err()
	}
	st := s.open(conn)
	defer s.close(st)
	err := st.run()
	st.log.Info("Envoy disconnected", "reason", err)
	if conn.Context().Err() == nil && err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	return nil
}

// open makes a stream that sees every change from now on.
func (s *Server) open(conn discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened++
	st := newStream(s, conn, s.log.With("stream", s.opened))
	for t, byName := range s.desired {
		for name, r := range byName {
			st.target.put(model.ResourceKey{Type: t, Name: name}, r)
		}
	}
	s.streams[st] = struct{}{}
	for _, t := range expected {
		s.ledger.doubted[t] = struct{}{}
	}
	return st
}

// expected are the types of which every Envoy wants everything.
var expected = []model.ResourceType{model.Cluster, model.EnvoyListener}

// close forgets a stream, and with it what its Envoy said and had not got.
func (s *Server) close(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, st)
	for t, byName := range s.desired {
		for name := range byName {
			s.ledger.touch(model.ResourceKey{Type: t, Name: name})
		}
	}
}

// markDirty tells every stream that k differs. The caller holds mu.
func (s *Server) markDirty(k model.ResourceKey) {
	for st := range s.streams {
		st.dirty[k] = struct{}{}
	}
}

func newResource(r model.Resource) *resource {
	sum := sha256.Sum256(r.Body)
	return &resource{
		hash:   hex.EncodeToString(sum[:12]),
		body:   &anypb.Any{TypeUrl: r.Type.TypeURL(), Value: r.Body},
		owners: r.Owners,
	}
}
