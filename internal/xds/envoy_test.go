package xds_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/xds"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// envoyBinary finds the stock Envoy: $WAGGLE_ENVOY, or .tools/envoy above the
// working directory.
func envoyBinary(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("WAGGLE_ENVOY"); path != "" {
		return path
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if path := filepath.Join(dir, ".tools", "envoy"); exec.Command(path, "--version").Run() == nil {
			return path
		}
	}
	t.Fatal(`no Envoy in .tools: run "make tools" or set WAGGLE_ENVOY`)
	return ""
}

const bootstrap = `
node: {id: test, cluster: test}
admin: {address: {pipe: {path: %[1]s/admin.sock, mode: 0600}}}
deferred_stat_options: {enable_deferred_creation_stats: true}
cluster_manager: {enable_deferred_cluster_creation: true}
dynamic_resources:
  ads_config:
    api_type: DELTA_GRPC
    transport_api_version: V3
    set_node_on_first_message_only: true
    grpc_services: [{envoy_grpc: {cluster_name: xds, retry_policy: {retry_back_off: {base_interval: 0.1s, max_interval: 1s}}}}]
  cds_config: {ads: {}, resource_api_version: V3, initial_fetch_timeout: 0s}
  lds_config: {ads: {}, resource_api_version: V3, initial_fetch_timeout: 0s}
static_resources:
  clusters:
  - name: xds
    type: STATIC
    connect_timeout: 1s
    load_assignment: {cluster_name: xds, endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: %[1]s/xds.sock}}}}]}]}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {connection_keepalive: {interval: 30s, timeout: 5s}}}
`

// proxy is a real Envoy and the server that configures it.
type proxy struct {
	t     testing.TB
	dir   string
	admin *http.Client
	pid   int // of Envoy

	server *xds.Server
	stop   func() // the server

	mu       sync.Mutex
	outcomes map[model.ResourceKey]model.Outcome
	news     chan struct{} // closed and replaced with each batch of outcomes
}

// startProxy starts a server with this state, and an Envoy.
func startProxy(t testing.TB, state ...model.Resource) *proxy {
	t.Helper()
	dir, err := os.MkdirTemp("", "xds") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "admin.sock"))
	}
	p := &proxy{t: t, dir: dir, admin: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
	p.startServer(state...)
	t.Cleanup(func() { p.stop() })

	log, err := os.Create(filepath.Join(dir, "envoy.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(envoyBinary(t), "--config-yaml", fmt.Sprintf(bootstrap, dir),
		"--disable-hot-restart", "--concurrency", "2", "--log-level", "warning", "--drain-time-s", "2")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.pid = cmd.Process.Pid
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("Envoy's log:\n%s", text)
		}
	})
	return p
}

// startServer starts a control plane, as a fresh process would.
func (p *proxy) startServer(state ...model.Resource) {
	p.t.Helper()
	lis, err := xds.Listen(filepath.Join(p.dir, "xds.sock"))
	if err != nil {
		p.t.Fatal(err)
	}
	level := slog.LevelWarn
	p.server = xds.NewServer(slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: level})))
	p.mu.Lock()
	p.outcomes, p.news = map[model.ResourceKey]model.Outcome{}, make(chan struct{})
	p.mu.Unlock()
	p.server.Update(state, nil)
	p.server.Ready()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	server := p.server
	running.Go(func() {
		if err := server.Serve(ctx, lis); err != nil {
			p.t.Error(err)
		}
	})
	running.Go(func() { p.collect(ctx, server) })
	p.stop = func() { cancel(); running.Wait() }
}

func (p *proxy) collect(ctx context.Context, server *xds.Server) {
	for {
		select {
		case <-ctx.Done():
			return
		case batch := <-server.Outcomes():
			p.mu.Lock()
			for _, o := range batch {
				p.outcomes[o.ResourceKey] = o
			}
			close(p.news)
			p.news = make(chan struct{})
			p.mu.Unlock()
		}
	}
}

// await waits until the outcomes of keys have this state, and returns the last.
func (p *proxy) await(state model.OutcomeState, keys ...model.ResourceKey) model.Outcome {
	p.t.Helper()
	for deadline := time.After(20 * time.Second); ; {
		p.mu.Lock()
		var last model.Outcome
		missing := slices.IndexFunc(keys, func(k model.ResourceKey) bool {
			last = p.outcomes[k]
			return last.State != state
		})
		news := p.news
		p.mu.Unlock()
		if missing < 0 {
			return last
		}
		select {
		case <-news:
		case <-deadline:
			p.t.Fatalf("%v is %+v and not %s", keys[missing], last, state)
		}
	}
}

// update changes the state and waits until Envoy has accepted what changed.
func (p *proxy) update(changed []model.Resource, removed ...model.ResourceKey) {
	p.t.Helper()
	p.server.Update(changed, removed)
	waiting := map[model.ResourceKey]bool{}
	for _, r := range changed {
		waiting[r.ResourceKey] = true
	}
	var left []xds.Status
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		left = slices.DeleteFunc(p.server.Snapshot(), func(s xds.Status) bool {
			return !waiting[s.ResourceKey] || s.State == model.Accepted
		})
		if len(left) == 0 {
			return
		}
	}
	p.t.Fatalf("not accepted: %+v", left)
}

// stats reads counters and gauges of Envoy.
func (p *proxy) stats(match string) map[string]float64 {
	p.t.Helper()
	resp, err := p.admin.Get("http://envoy/stats?format=json&filter=" + url.QueryEscape(match))
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	var v struct {
		Stats []struct {
			Name  string
			Value any
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil {
		p.t.Fatal(err)
	}
	out := map[string]float64{}
	for _, s := range v.Stats {
		if n, ok := s.Value.(float64); ok {
			out[s.Name] = n
		}
	}
	return out
}

// backend starts an HTTP server that says its name, and returns its port.
func backend(t testing.TB, name string) int {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d, err := time.ParseDuration(r.URL.Query().Get("sleep")); err == nil {
			time.Sleep(d)
		}
		io.WriteString(w, name)
	}))
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().(*net.TCPAddr).Port
}

func freePort(t testing.TB) int {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	return lis.Addr().(*net.TCPAddr).Port
}

// load sends requests to a port until stopped: on kept connections, and each
// on a new one.
type load struct {
	t       testing.TB
	port    int
	quit    chan struct{}
	running sync.WaitGroup
	served  atomic.Int64
	mu      sync.Mutex
	failed  map[string]int
	seen    map[string]int // bodies
}

func startLoad(t testing.TB, port int) *load {
	l := &load{t: t, port: port, quit: make(chan struct{}), failed: map[string]int{}, seen: map[string]int{}}
	for range 6 {
		l.running.Go(func() { l.run(false, 0) })
	}
	for range 2 {
		l.running.Go(func() { l.run(true, 5*time.Millisecond) })
	}
	return l
}

func (l *load) run(fresh bool, pause time.Duration) {
	transport := &http.Transport{DisableKeepAlives: fresh}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	for {
		select {
		case <-l.quit:
			return
		case <-time.After(pause):
		}
		body, err := fetch(client, l.port)
		l.mu.Lock()
		if err != nil {
			l.failed[err.Error()]++
		} else {
			l.seen[body]++
			l.served.Add(1)
		}
		l.mu.Unlock()
	}
}

// fetch returns the body of a 200, and an error for all else.
func fetch(client *http.Client, port int) (string, error) {
	resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return string(body), err
}

// after waits until n more requests have been served.
func (l *load) after(n int64) {
	for until := l.served.Load() + n; l.served.Load() < until; {
		select {
		case <-time.After(time.Millisecond):
		case <-l.t.Context().Done():
			return
		}
		l.mu.Lock()
		failed := len(l.failed) > 0
		l.mu.Unlock()
		if failed {
			return
		}
	}
}

// end stops the load and fails the test if a request failed.
func (l *load) end() map[string]int {
	l.t.Helper()
	close(l.quit)
	l.running.Wait()
	if len(l.failed) > 0 {
		l.t.Errorf("requests failed: %v", l.failed)
	}
	l.t.Logf("%d requests served", l.served.Load())
	return l.seen
}

// awaitBody polls a port until it answers with body.
func awaitBody(t testing.TB, port int, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	var got string
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if got, err = fetch(client, port); err == nil && got == body {
			return
		}
	}
	t.Fatalf("port %d answers %q, %v, and not %q", port, strings.TrimSpace(got), err, body)
}
