package hostile

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/standalone"
)

// mesh is a running `waggle run` in this process, on addresses and ports that
// are its own.
type mesh struct {
	t       *testing.T
	dir     string // of the manifests
	state   string
	network string // "127.80.12.": stands for the neighbour's "127.21.3."
	offset  int
	backend *httptest.Server
	ended   chan error
}

// startMesh runs the neighbour, and returns when it answers.
func startMesh(t *testing.T, tables agent.RouteTables) *mesh {
	t.Helper()
	pid := os.Getpid()
	m := &mesh{
		t: t, dir: t.TempDir(), state: shortTempDir(t), offset: 12000 + pid%12000,
		network: fmt.Sprintf("127.%d.%d.", 64|pid>>8&63, pid&255),
		ended:   make(chan error, 1),
	}
	m.backend = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, values := range r.Header {
			w.Header()["Received-"+name] = values
		}
	}))
	t.Cleanup(m.backend.Close)
	base, err := os.ReadFile(neighbour)
	if err != nil {
		t.Fatal(err)
	}
	m.write("base/neighbour.yaml", base)
	m.write("base/endpoints.yaml", []byte(m.endpoints("neighbour")+"---\n"+m.endpoints("hostile")))

	binary := envoyPath(t)
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelError + 1}))
	go func() {
		m.ended <- standalone.Run(ctx, standalone.Options{
			Paths: []string{m.dir}, StateDir: m.state, Envoy: binary, PortOffset: m.offset,
			Concurrency: 2, RouteTables: tables, Out: testWriter{t}, Log: log,
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-m.ended; err != nil {
			t.Errorf("the mesh ended: %v", err)
		}
	})
	client := newClient(m, false)
	m.eventually("the neighbour answers", func() error {
		for _, u := range m.neighbours() {
			if err := client.get(u); err != nil {
				return err
			}
		}
		return nil
	})
	return m
}

// endpoints leads a namespace's Service "backend" to the test's backend.
func (m *mesh) endpoints(namespace string) string {
	host, port, _ := strings.Cut(m.backend.Listener.Addr().String(), ":")
	return fmt.Sprintf(`apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: backend, namespace: %s, labels: {kubernetes.io/service-name: backend}}
addressType: IPv4
ports: [{port: %s}]
endpoints: [{addresses: [%s]}]
`, namespace, port, host)
}

// write puts a manifest into place in one step.
func (m *mesh) write(name string, text []byte) {
	m.t.Helper()
	text = []byte(strings.ReplaceAll(string(text), "127.21.3.", m.network))
	path := filepath.Join(m.dir, name)
	part := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".part")
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(part, text, 0o644)
	}
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *mesh) remove(name string) {
	m.t.Helper()
	if err := os.RemoveAll(filepath.Join(m.dir, name)); err != nil {
		m.t.Fatal(err)
	}
}

// status asks the mesh as `waggle status` does.
func (m *mesh) status() *standalone.Status {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s, err := standalone.AskStatus(ctx, m.state)
	if err != nil {
		m.t.Fatal(err)
	}
	return s
}

// said is what the mesh says of each file, by its name below the directory.
func (m *mesh) said(s *standalone.Status) map[string][]outcome {
	out := map[string][]outcome{}
	for path, said := range outcomesByFile(s.Problems, s.Conditions) {
		if path == "" { // the file has just gone, and its objects are about to
			out[path] = said
			continue
		}
		name, err := filepath.Rel(m.dir, path)
		if err != nil {
			m.t.Fatal(err)
		}
		out[name] = said
	}
	return out
}

// eventually waits until f returns nil.
func (m *mesh) eventually(what string, f func() error) {
	m.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		err := f()
		if err == nil {
			return
		}
		select {
		case ended := <-m.ended:
			m.ended <- ended
			m.t.Fatalf("the mesh ended: %v", ended)
		default:
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("not in time: %s: %v", what, err)
		}
	}
}

// neighbours are URLs that the neighbour answers, one per listener and kind
// of host.
func (m *mesh) neighbours() []string {
	return []string{
		fmt.Sprintf("http://neighbour.example|%s1:%d/", m.network, m.offset+80),
		fmt.Sprintf("http://any.neighbour.example|%s1:%d/", m.network, m.offset+80),
		fmt.Sprintf("https://neighbour.example|%s1:%d/", m.network, m.offset+443),
		fmt.Sprintf("http://neighbour.example|%s3:%d/", m.network, m.offset+80),
	}
}

// client asks for URLs whose host is followed by the address to connect to.
type client struct{ http http.Client }

// newClient makes a client that keeps its connections, or opens one for each
// request.
func newClient(m *mesh, keep bool) *client {
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: "neighbour.example"},
		DisableKeepAlives: !keep,
	}
	m.t.Cleanup(transport.CloseIdleConnections)
	return &client{http.Client{Transport: transport, Timeout: 10 * time.Second}}
}

func (c *client) get(url string) error {
	r, err := c.do(url)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, r.Status)
	}
	return err
}

func (c *client) do(url string) (*http.Response, error) {
	scheme, rest, _ := strings.Cut(url, "://")
	host, at, _ := strings.Cut(rest, "|")
	r, err := http.NewRequest(http.MethodGet, scheme+"://"+at, nil)
	if err != nil {
		return nil, err
	}
	r.Host = host
	response, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	return response, response.Body.Close()
}

// shortTempDir is a directory whose path leaves room for sockets.
func shortTempDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "hostile")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// envoyPath finds the stock Envoy: WAGGLE_ENVOY, or the one that make tools
// fetched.
func envoyPath(t *testing.T) string {
	if path := os.Getenv("WAGGLE_ENVOY"); path != "" {
		return path
	}
	path, err := filepath.Abs("../../.tools/envoy")
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("no Envoy; run make tools: %v", err)
	}
	return path
}

// testWriter writes to a test's log.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(text []byte) (int, error) {
	w.t.Logf("%s", text)
	return len(text), nil
}
