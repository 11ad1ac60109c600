package agent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/waggle-mesh/waggle/internal/envoy"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
	"github.com/waggle-mesh/waggle/internal/xds"
)

// proxied is the pipeline with a real Envoy behind it.
type proxied struct {
	t        *testing.T
	tables   flow.Graph
	in       Inputs
	agent    *Graph
	server   *xds.Server
	rejected map[string][]model.Ref // RouteConfigurations, with their owners
}

var testGateway = model.Name{Namespace: "default", Name: "gw"}

func newProxied(t *testing.T, port uint16) *proxied {
	n := &proxied{t: t, server: xds.NewServer(slog.New(slog.DiscardHandler)), rejected: map[string][]model.Ref{}}
	equalHost := func(model.VirtualHost, model.VirtualHost) bool { return false }
	n.in = Inputs{
		Listeners:      flow.NewTable(&n.tables, "listeners in", func(model.Listener, model.Listener) bool { return false }),
		VirtualHosts:   flow.NewTable(&n.tables, "virtual hosts", equalHost),
		Backends:       flow.NewTable(&n.tables, "backends", func(a, b model.Backend) bool { return a == b }),
		Certificates:   flow.NewTable(&n.tables, "certificates", func(model.Certificate, model.Certificate) bool { return false }),
		Services:       flow.NewTable(&n.tables, "services", model.Object[*corev1.Service].Equal),
		EndpointSlices: flow.NewTable(&n.tables, "slices", model.Object[*discoveryv1.EndpointSlice].Equal),
		Address: func(*flow.Reader, model.Listener) (netip.Addr, bool) {
			return netip.MustParseAddr("127.0.0.1"), true
		},
		RouteTables: Auto,
	}
	n.agent = New(&n.tables, n.in)
	n.in.Listeners.Set(model.Listener{
		Gateway: testGateway, Port: 80, BindPort: port, Protocol: model.HTTP,
		Chains: []model.Chain{{Table: model.TableKey(testGateway, 80, "")}},
	})
	return n
}

// host answers a host with a status, where a regular expression matches the
// whole path.
func (n *proxied) host(name, path string, status int) {
	route := model.Ref{Kind: "HTTPRoute", Name: model.Name{Namespace: "default", Name: name}}
	n.in.VirtualHosts.Set(model.VirtualHost{Table: model.TableKey(testGateway, 80, ""), Host: name, Routes: []model.Route{{
		Origin:  model.Origin{Object: route},
		Match:   model.Match{Path: model.PathMatch{Kind: model.PathRegex, Value: path}},
		Respond: &model.Respond{Status: status},
	}}})
}

// publish commits, and tells Envoy.
func (n *proxied) publish() {
	n.t.Helper()
	for again := true; again; again = n.agent.Settle() {
		if err := n.tables.Commit(); err != nil {
			n.t.Fatal(err)
		}
	}
	changed, removed := n.agent.Changes()
	for _, k := range removed {
		delete(n.rejected, k.Name)
	}
	n.server.Update(changed, removed)
}

// until goes on with what Envoy says until check has nothing against it.
func (n *proxied) until(what string, check func() error) {
	n.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); ; {
		select {
		case outcomes := <-n.server.Outcomes():
			for _, o := range outcomes {
				if delete(n.rejected, o.Name); o.State == model.Rejected {
					n.rejected[o.Name] = o.Owners
				}
			}
			n.agent.Outcomes(outcomes)
			n.publish()
		case <-tick.C:
		}
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("%s: %v", what, err)
		}
	}
}

// TestRefusedTable: a host that Envoy refuses, though we had nothing against
// it, keeps no other host of its table from changing, and only its own
// objects are told.
func TestRefusedTable(t *testing.T) {
	port, dir := freePort(t), shortDir(t)
	n := newProxied(t, port)
	paths, err := envoy.PathsIn(dir)
	if err != nil {
		t.Fatal(err)
	}
	socket, err := xds.Listen(paths.XDSSocket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- n.server.Serve(ctx, socket) }()
	t.Cleanup(func() { stop(); <-served })
	n.host("a", "/.*", 201)
	n.host("b", "/.*", 202)
	n.publish()
	n.server.Ready()
	proxy, err := envoy.Start(ctx, envoy.Options{Binary: envoyPath(t), StateDir: dir, Concurrency: 1, Bootstrap: render.Bootstrap(
		render.BootstrapOptions{NodeID: "test", AdminSocket: paths.AdminSocket, XDSSocket: paths.XDSSocket})}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		over, cancel := context.WithCancel(context.Background())
		cancel()
		if err := proxy.Stop(over); err != nil {
			t.Error(err)
		}
	})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	answers := func(host string, status int) func() error {
		return func() error {
			req, _ := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/x", port), nil)
			req.Host = host
			r, err := client.Do(req)
			if err != nil {
				return err
			}
			io.Copy(io.Discard, r.Body)
			r.Body.Close()
			if r.StatusCode != status {
				return fmt.Errorf("%s answers %d, want %d", host, r.StatusCode, status)
			}
			return nil
		}
	}
	n.until("at first", answers("a", 201))
	n.until("at first", answers("b", 202))
	if n.agent.ScopedTables() != 0 {
		t.Fatal("a table of two hosts is served by scopes")
	}

	n.host("evil", "/(", 200)
	n.host("b", "/.*", 203)
	n.publish()
	n.until("beside a host that Envoy refuses", answers("b", 203))
	n.until("beside a host that Envoy refuses", answers("a", 201))
	evil := []model.Ref{{Kind: "HTTPRoute", Name: model.Name{Namespace: "default", Name: "evil"}}}
	n.until("the refusal", func() error {
		for name, owners := range n.rejected {
			if len(n.rejected) == 1 && slices.Equal(owners, evil) {
				return nil
			}
			err = fmt.Errorf("%s is refused, of %v", name, owners)
		}
		return fmt.Errorf("refused are %d: %w", len(n.rejected), err)
	})

	n.host("evil", "/.*", 204)
	n.host("a", "/.*", 205)
	n.publish()
	n.until("when it is mended", answers("evil", 204))
	n.until("when it is mended", answers("a", 205))
	n.until("when it is mended", func() error {
		if len(n.rejected) > 0 {
			return fmt.Errorf("refused: %v", n.rejected)
		}
		return nil
	})
}

func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

// shortDir is a directory whose name leaves room for a socket's.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// envoyPath finds the stock Envoy: WAGGLE_ENVOY, or .tools/envoy in a folder
// above.
func envoyPath(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("WAGGLE_ENVOY"); path != "" {
		return path
	}
	dir, err := os.Getwd()
	for ; err == nil && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		path := filepath.Join(dir, ".tools", "envoy")
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Fatal("neither WAGGLE_ENVOY nor .tools/envoy above here: run `make tools`")
	return ""
}
