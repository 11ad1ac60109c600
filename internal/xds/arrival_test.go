package xds

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/waggle-mesh/waggle/internal/model"
)

func onLoopback(port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}

// TestShifted: all addresses of a listener move, and nothing else does.
func TestShifted(t *testing.T) {
	listener := func(port uint32, transparent ...bool) *anypb.Any {
		body, err := anypb.New(&listenerv3.Listener{
			Name: "l", Address: onLoopback(port), Transparent: wrapperspb.Bool(len(transparent) == 0),
			AdditionalAddresses: []*listenerv3.AdditionalAddress{{Address: onLoopback(port)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	if got := shifted(model.EnvoyListener, listener(7), 10000); !proto.Equal(got, listener(10007)) {
		t.Errorf("got %v", got)
	}
	if got := shifted(model.EnvoyListener, listener(7, false), 10000); !proto.Equal(got, listener(7, false)) {
		t.Errorf("a listener at an address of the node's became %v", got)
	}
	if got := shifted(model.Cluster, listener(7), 10000); !proto.Equal(got, listener(7)) {
		t.Errorf("a cluster became %v", got)
	}
	broken := &anypb.Any{Value: []byte{0xff}}
	if got := shifted(model.EnvoyListener, broken, 10000); got != broken {
		t.Errorf("a broken listener became %v", got)
	}
}

// TestRefusedPeerIsToldNothing: the one who is asked sees this process, and
// what it refuses gets no stream.
func TestRefusedPeerIsToldNothing(t *testing.T) {
	s := NewServer(slog.New(slog.DiscardHandler))
	s.Ready()
	asked := make(chan Peer, 10)
	s.OnArrival(func(p Peer) (Welcome, error) {
		asked <- p
		return Welcome{}, errors.New("not today")
	})
	path := filepath.Join(t.TempDir(), "s", "xds.sock")
	lis, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- s.Serve(ctx, lis) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	client, err := grpc.NewClient("passthrough:///", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return net.Dial("unix", path) }))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(client).DeltaAggregatedResources(ctx)
	if err == nil {
		_, err = stream.Recv()
	}
	if err == nil {
		t.Error("a refused peer was answered")
	}
	select {
	case p := <-asked:
		if p.Process.Pid == 0 || p.Cgroup == "" || p.Cgroup == "/" {
			t.Errorf("asked about %+v", p)
		}
	default: // this process is in the root cgroup, where the kernel's answer alone refuses it
		if _, err := CgroupOf(os.Getpid()); err == nil {
			t.Error("nobody was asked")
		}
	}
}
