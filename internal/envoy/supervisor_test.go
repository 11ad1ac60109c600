package envoy_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/waggle-mesh/waggle/internal/envoy"
)

// superviseEnv makes this test binary behave as `waggle run` does: take the
// state directory, start or adopt Envoy, say so, stop it on SIGTERM.
const superviseEnv = "WAGGLE_TEST_SUPERVISE"

func TestMain(m *testing.M) {
	if spec := os.Getenv(superviseEnv); spec != "" {
		os.Exit(supervise(spec))
	}
	goleak.VerifyTestMain(m)
}

func supervise(spec string) int {
	var opts envoy.Options
	fail := func(err error) int {
		fmt.Println("error", err)
		return 1
	}
	if err := json.Unmarshal([]byte(spec), &opts); err != nil {
		return fail(err)
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	lock, err := envoy.Lock(opts.StateDir)
	if err != nil {
		return fail(err)
	}
	p, err := envoy.Start(context.Background(), opts, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return fail(err)
	}
	fmt.Println("started", p.PID(), p.Adopted())
	<-term
	if err := p.Stop(context.Background()); err != nil {
		return fail(err)
	}
	if err := lock.Release(); err != nil {
		return fail(err)
	}
	return 0
}

// supervisor is a running supervise.
type supervisor struct {
	cmd    *exec.Cmd
	out    *bufio.Reader
	errOut strings.Builder
}

func startSupervisor(t *testing.T, opts envoy.Options, with ...func(*exec.Cmd)) *supervisor {
	t.Helper()
	spec, err := json.Marshal(opts)
	if err != nil {
		t.Fatal(err)
	}
	s := &supervisor{cmd: exec.Command(os.Args[0])}
	s.cmd.Env = append(os.Environ(), superviseEnv+"="+string(spec))
	s.cmd.Stderr = &s.errOut
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	for _, f := range with {
		f(s.cmd)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.out = bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("supervisor %d:\n%s", s.cmd.Process.Pid, s.errOut.String())
		}
	})
	return s
}

// started waits for Envoy and returns its process number.
func (s *supervisor) started(t *testing.T) (pid int, adopted bool) {
	t.Helper()
	line, err := s.out.ReadString('\n')
	if _, err := fmt.Sscanf(line, "started %d %t", &pid, &adopted); err != nil {
		t.Fatalf("supervisor says %q: %v", line, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return pid, adopted
}

func (s *supervisor) kill() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

// options are for an Envoy in a directory of its own, that answers "hello" on
// a port, through a backend which takes ?sleep=.
func options(t *testing.T) (opts envoy.Options, port int) {
	t.Helper()
	dir, err := os.MkdirTemp("", "envoy") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	opts = envoy.Options{Binary: envoyBinary(t), StateDir: filepath.Join(dir, "state"), Concurrency: 1}
	if err := os.Mkdir(opts.StateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d, err := time.ParseDuration(r.URL.Query().Get("sleep")); err == nil {
			time.Sleep(d)
		}
		io.WriteString(w, "hello")
	}))
	t.Cleanup(backend.Close)
	port = freePort(t)
	opts.Bootstrap = bootstrap(t, opts.StateDir, port, backend.Listener.Addr().(*net.TCPAddr).Port)
	t.Cleanup(func() { // whatever the test did, leave no Envoy
		for _, pid := range envoysOf(t, opts.StateDir) {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return opts, port
}

func bootstrap(t *testing.T, stateDir string, port, backend int) []byte {
	t.Helper()
	paths, err := envoy.PathsIn(stateDir)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Appendf(nil, `{
  "admin": {"address": {"pipe": {"path": %q, "mode": 384}}},
  "static_resources": {
    "clusters": [{
      "name": "backend", "connect_timeout": "1s", "type": "STATIC",
      "load_assignment": {"cluster_name": "backend", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": %d}}}}]}]}
    }],
    "listeners": [{
      "name": "main",
      "address": {"socket_address": {"address": "127.0.0.1", "port_value": %d}},
      "filter_chains": [{"filters": [{
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
          "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
          "stat_prefix": "main",
          "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "backend"}}]}]},
          "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]
        }
      }]}]
    }]
  }
}`, paths.AdminSocket, backend, port)
}

// envoyBinary finds the stock Envoy: $WAGGLE_ENVOY, or .tools/envoy above the
// working directory.
func envoyBinary(t *testing.T) string {
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

func freePort(t *testing.T) int {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	return lis.Addr().(*net.TCPAddr).Port
}

// envoysOf returns the processes whose command line names the state
// directory, as the machine sees them.
func envoysOf(t *testing.T, stateDir string) []int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(line), "\x00-c\x00"+stateDir+"/") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// get makes one request on a connection of its own.
func get(port int, query string) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	return getWith(client, port, query)
}

func getWith(client *http.Client, port int, query string) error {
	resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/%s", port, query))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && string(body) != "hello" {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return err
}

// eventually waits until f returns nil.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

func left(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
