package render_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
)

// mesh is the one Envoy of this package's tests and its control plane. Every
// test has gateways of its own on it.
type mesh struct {
	ads   *ads
	envoy *exec.Cmd
	dir   string
	log   *os.File
	next  atomic.Uint32
}

var shared *mesh

func TestMain(m *testing.M) {
	var err error
	if shared, err = startMesh(); err != nil {
		fmt.Fprintln(os.Stderr, "start Envoy:", err)
		os.Exit(1)
	}
	code := m.Run()
	shared.stop()
	os.Exit(code)
}

// envoyPath finds the stock Envoy: WAGGLE_ENVOY, or .tools/envoy in a folder
// above.
func envoyPath() (string, error) {
	if path := os.Getenv("WAGGLE_ENVOY"); path != "" {
		return path, nil
	}
	dir, err := os.Getwd()
	for ; err == nil && dir != "/"; dir = filepath.Dir(dir) {
		path := filepath.Join(dir, ".tools", "envoy")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("neither WAGGLE_ENVOY nor .tools/envoy above here")
}

func startMesh() (*mesh, error) {
	path, err := envoyPath()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "render")
	if err != nil {
		return nil, err
	}
	m := &mesh{ads: newADS(), dir: dir}
	if _, err := m.ads.serve(filepath.Join(dir, "xds.sock")); err != nil {
		return nil, err
	}
	bootstrap := filepath.Join(dir, "bootstrap.json")
	if err := os.WriteFile(bootstrap, render.Bootstrap(render.BootstrapOptions{
		NodeID: "test", AdminSocket: filepath.Join(dir, "admin.sock"), XDSSocket: filepath.Join(dir, "xds.sock"), HeapBytes: 2 << 30,
	}), 0o600); err != nil {
		return nil, err
	}
	if m.log, err = os.Create(filepath.Join(dir, "envoy.log")); err != nil {
		return nil, err
	}
	level := os.Getenv("WAGGLE_ENVOY_LOG")
	if level == "" {
		level = "warning"
	}
	m.envoy = exec.Command(path, "-c", bootstrap, "--concurrency", "2", "--disable-hot-restart", "-l", level)
	m.envoy.Stdout, m.envoy.Stderr = m.log, m.log
	m.envoy.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return m, m.envoy.Start()
}

func (m *mesh) stop() {
	m.envoy.Process.Kill()
	m.envoy.Wait()
	if os.Getenv("WAGGLE_ENVOY_LOG") != "" {
		log, _ := os.ReadFile(m.log.Name())
		os.Stderr.Write(log)
	}
	os.RemoveAll(m.dir)
}

// gateway is a listener on an address of its own.
type gateway struct {
	t        *testing.T
	address  netip.Addr
	listener model.Listener
	scoped   bool
	clients  model.Clients
	client   *http.Client
}

const gatewayPort = 10080

// inBothModes runs a test with one RouteConfiguration and with scopes: what
// clients and backends see must be the same.
func inBothModes(t *testing.T, test func(*testing.T, *gateway)) {
	for _, scoped := range []bool{false, true} {
		t.Run(map[bool]string{false: "table", true: "scoped"}[scoped], func(t *testing.T) {
			test(t, newGateway(t, scoped))
		})
	}
}

func newGateway(t *testing.T, scoped bool) *gateway {
	n := shared.next.Add(1)
	pid := os.Getpid()
	name := model.Name{Namespace: "test", Name: fmt.Sprintf("gw%d", n)}
	g := &gateway{
		t:       t,
		scoped:  scoped,
		address: netip.AddrFrom4([4]byte{127, 64 | byte(pid>>8)&63, byte(pid), byte(n)}),
		listener: model.Listener{
			Gateway: name, Port: 80, BindPort: gatewayPort, Protocol: model.HTTP,
			Chains: []model.Chain{{Table: model.TableKey(name, 80, "")}},
		},
	}
	transport := &http.Transport{DialContext: g.dial, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	g.client = &http.Client{
		Transport:     transport,
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return g
}

func (g *gateway) options() render.ListenerOptions {
	return render.ListenerOptions{Address: g.address, ExclusivePort: true, Clients: g.clients, Scoped: func(string) bool { return g.scoped }}
}

// serve renders the hosts and their backends, and returns when all of it
// answers.
func (g *gateway) serve(hosts []model.VirtualHost, backends ...*backend) {
	g.t.Helper()
	resources := []model.Resource{render.Listener(g.listener, g.options())}
	for _, b := range backends {
		resources = append(resources, render.Cluster(b.Backend), render.LoadAssignment(b.endpoints()))
	}
	resources = append(resources, g.routes(hosts)...)
	apply(g.t, resources...)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		connection, err := g.dial(context.Background(), "", "")
		if err == nil {
			connection.Close()
			return
		}
		if err := shared.ads.rejection(resources...); err != nil {
			g.t.Fatal(err)
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("the listener does not come up: %v", err)
		}
	}
}

// routes renders the hosts of the first table.
func (g *gateway) routes(hosts []model.VirtualHost) []model.Resource {
	return g.routesOf(g.listener.Chains[0].Table, hosts)
}

// routesOf renders hosts as the mode has it.
func (g *gateway) routesOf(table string, hosts []model.VirtualHost) []model.Resource {
	var exact, wildcards []render.Host
	for _, v := range hosts {
		v.Table = table
		if h := render.VirtualHost(v); strings.HasPrefix(v.Host, "*") {
			wildcards = append(wildcards, h)
		} else {
			exact = append(exact, h)
		}
	}
	if !g.scoped {
		return []model.Resource{render.RouteConfiguration(table, append(exact, wildcards...))}
	}
	resources := render.ScopedWildcards(table, wildcards)
	for _, h := range exact {
		resources = append(resources, render.ScopedHost(h)...)
	}
	return resources
}

// apply sends resources and fails the test if Envoy rejects one.
func apply(t *testing.T, resources ...model.Resource) {
	t.Helper()
	for _, r := range resources {
		validate(t, r)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := shared.ads.set(ctx, resources...); err != nil {
		t.Fatalf("apply: %v", err)
	}
}

func (g *gateway) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", netip.AddrPortFrom(g.address, g.listener.BindPort).String())
}

// answer is what a client got, and what the backend had received if one did.
type answer struct {
	Status   int
	Header   http.Header
	Body     string
	Received *received
}

// get asks for a URL; headers alternate names and values.
func (g *gateway) get(url string, headers ...string) answer {
	g.t.Helper()
	return g.do("GET", url, headers...)
}

func (g *gateway) do(method, url string, headers ...string) answer {
	g.t.Helper()
	request, err := http.NewRequest(method, url, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if strings.EqualFold(headers[i], "host") {
			request.Host = headers[i+1]
		} else {
			request.Header[headers[i]] = append(request.Header[headers[i]], headers[i+1])
		}
	}
	response, err := g.client.Do(request)
	if err != nil {
		g.t.Fatalf("%s %s: %v", method, url, err)
	}
	return g.read(response)
}

// raw sends bytes that net/http would not, and reads one response.
func (g *gateway) raw(text string) answer {
	g.t.Helper()
	connection, err := g.dial(context.Background(), "", "")
	if err != nil {
		g.t.Fatal(err)
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(connection, text); err != nil {
		g.t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		g.t.Fatalf("%q: %v", text, err)
	}
	return g.read(response)
}

func (g *gateway) read(response *http.Response) answer {
	g.t.Helper()
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	a := answer{Status: response.StatusCode, Header: response.Header, Body: string(body)}
	if response.Header.Get("X-Backend") != "" {
		a.Received = &received{}
		if err := json.Unmarshal(body, a.Received); err != nil {
			g.t.Fatalf("%q: %v", body, err)
		}
	}
	return a
}

// by names the backend that answered, or the status if none did.
func (a answer) by() string {
	if a.Received != nil {
		return a.Received.Backend
	}
	return fmt.Sprint(a.Status)
}

// received is a request as a backend saw it.
type received struct {
	Backend, Method, URI, Host, Proto string
	Header                            http.Header
}

// backend is a real HTTP server that tells what it received.
type backend struct {
	model.Backend
	addresses []netip.AddrPort
	seen      chan received // every request
	handler   atomic.Value  // func(http.ResponseWriter, *http.Request), instead of the echo
}

var backends atomic.Uint32

// echo starts a backend. It answers 200, or what the query's "status" says.
func echo(t *testing.T, name string) *backend {
	b := &backend{Backend: model.Backend{
		Service: model.Name{Namespace: "test", Name: fmt.Sprintf("%s-%d", name, backends.Add(1))}, Port: 80,
	}, seen: make(chan received, 1000)}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := received{name, r.Method, r.RequestURI, r.Host, r.Proto, r.Header}
		select {
		case b.seen <- got:
		default:
		}
		if handle, ok := b.handler.Load().(func(http.ResponseWriter, *http.Request)); ok {
			handle(w, r)
			return
		}
		w.Header().Set("X-Backend", name)
		w.Header().Set("X-From-Backend", "original")
		if status := r.URL.Query().Get("status"); status != "" {
			var code int
			fmt.Sscan(status, &code)
			w.WriteHeader(code)
		}
		var body bytes.Buffer
		json.NewEncoder(&body).Encode(got)
		w.Write(body.Bytes())
	}))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	b.addresses = []netip.AddrPort{netip.MustParseAddrPort(server.Listener.Addr().String())}
	return b
}

func (b *backend) endpoints() model.Endpoints {
	return model.Endpoints{Service: b.Service, Port: b.Port, Addresses: b.addresses}
}

// to is a route's only backend.
func to(b *backend) *model.Forward {
	return &model.Forward{Backends: []model.WeightedBackend{{Backend: b.Backend, Weight: 1}}}
}

// all matches every request.
var all = model.Match{Path: model.PathMatch{Value: "/"}}

// host is a VirtualHost whose routes differ in nothing that is not given.
func host(name string, routes ...model.Route) model.VirtualHost {
	return model.VirtualHost{Host: name, Routes: routes}
}
