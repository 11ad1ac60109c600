package xds_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/xds"
)

// many is n services, and one table that leads a host to each.
func many(b *testing.B, n, port int) []model.Resource {
	var all []model.Resource
	hosts := &routev3.RouteConfiguration{Name: "main", VirtualHosts: []*routev3.VirtualHost{
		{Name: "*", Domains: []string{"*"}, Routes: []*routev3.Route{to(name("svc", 0))}},
	}}
	for i := range n {
		all = append(all, service(b, name("svc", i), port)...)
		host := fmt.Sprintf("h%d.example.com", i)
		hosts.VirtualHosts = append(hosts.VirtualHosts, &routev3.VirtualHost{Name: host, Domains: []string{host}, Routes: []*routev3.Route{to(name("svc", i))}})
	}
	return append(all, resource(b, model.RouteConfiguration, "main", hosts))
}

// BenchmarkStart is the time from Envoy's start until it has accepted 5,000
// clusters with endpoints, and a table with 5,000 hosts answers.
func BenchmarkStart(b *testing.B) {
	backendPort := backend(b, "hello")
	state := many(b, 5000, backendPort)
	for b.Loop() {
		port := freePort(b)
		p := startProxy(b, append(state, listener(b, "main", port, "main"))...)
		p.await(model.Accepted, key(model.EnvoyListener, "main"), key(model.RouteConfiguration, "main"), key(model.ClusterLoadAssignment, name("svc", 4999)))
		awaitBody(b, port, "hello")
		b.ReportMetric(cpu(b, p.pid).Seconds(), "envoy-cpu-s")
	}
}

// cpu is the processor time that a process has used.
func cpu(b *testing.B, pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err := errors.Join(err1, err2); err != nil {
		b.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// BenchmarkEdit is the time from Update until Envoy has accepted, among 5,000
// services.
func BenchmarkEdit(b *testing.B) {
	port, first := freePort(b), backend(b, "hello")
	p := startProxy(b, append(many(b, 5000, first), table(b, "small", to(name("svc", 0))), listener(b, "main", port, "small"))...)
	p.await(model.Accepted, key(model.EnvoyListener, "main"), key(model.RouteConfiguration, "small"))
	accepted := func(b *testing.B, r model.Resource) {
		p.server.Update([]model.Resource{r}, nil)
		for p.server.State(r.ResourceKey) != model.Accepted {
			time.Sleep(20 * time.Microsecond)
		}
	}
	edits := map[string]func(i int) model.Resource{
		"route":     func(i int) model.Resource { return table(b, "small", to(name("svc", i%5000))) },
		"endpoints": func(i int) model.Resource { return endpoints(b, "svc/7", "127.0.0.1", 1000+i%1000) },
		"cluster":   func(i int) model.Resource { return cluster(b, "svc/7", time.Duration(i+2)*time.Second) },
	}
	for what, edit := range edits {
		b.Run(what, func(b *testing.B) {
			i := 0
			for b.Loop() {
				accepted(b, edit(i))
				i++
			}
		})
	}
}

// BenchmarkSend is the time from Update until the bytes are at the other end
// of the socket, among 5,000 tables.
func BenchmarkSend(b *testing.B) {
	lis, err := xds.Listen(filepath.Join(b.TempDir(), "s"))
	if err != nil {
		b.Fatal(err)
	}
	server := xds.NewServer(slog.New(slog.NewTextHandler(io.Discard, nil)))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { server.Serve(ctx, lis) })
	defer running.Wait()
	defer cancel()
	req := &discovery.DeltaDiscoveryRequest{TypeUrl: model.RouteConfiguration.TypeURL()}
	var state []model.Resource
	for i := range 5000 {
		state = append(state, table(b, strconv.Itoa(i), to("c")))
		req.ResourceNamesSubscribe = append(req.ResourceNamesSubscribe, strconv.Itoa(i))
	}
	server.Update(state, nil)
	server.Ready()
	conn, err := grpc.NewClient("unix:"+lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		b.Fatal(err)
	}
	receive := func() {
		resp, err := stream.Recv()
		if err != nil {
			b.Fatal(err)
		}
		if err := stream.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: resp.TypeUrl, ResponseNonce: resp.Nonce}); err != nil {
			b.Fatal(err)
		}
	}
	if err := stream.Send(req); err != nil {
		b.Fatal(err)
	}
	for range 5000 {
		receive()
	}
	i := 0
	for b.Loop() {
		i++
		server.Update([]model.Resource{table(b, "7", to(strconv.Itoa(i)))}, nil)
		receive()
	}
}
