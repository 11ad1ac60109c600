package standalone_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/waggle-mesh/waggle/internal/standalone"
)

// served makes a site on a process that answers.
func (p *process) served() *site {
	p.t.Helper()
	m := newSite(p.t, p.mesh)
	m.backends("a b")
	m.route("r", `rules: [{backendRefs: [{name: a, port: 80}]}]`)
	m.answers(`/ → a`)
	return m
}

// TestInterruptLeavesNothing, and before that where to send requests is
// printed.
func TestInterruptLeavesNothing(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	status := p.start()
	m := p.served()
	row := fmt.Sprintf("%s/gw  http      *         http://%s:20080", m.namespace, m.address)
	if err := poll(func() error {
		if text := p.log.String(); !strings.Contains(text, row) {
			return fmt.Errorf("not printed: %s\n%s", row, text)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if code := p.interrupt(); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.log)
	}
	if alive(status.Envoy.PID) {
		t.Error("Envoy goes on")
	}
	if _, err := os.Stat(p.stateDir); !os.IsNotExist(err) {
		left, _ := os.ReadDir(p.stateDir)
		t.Errorf("the state directory is still there, with %v", left)
	}
}

// TestInterruptFinishesRequests: one that is under way is answered.
func TestInterruptFinishesRequests(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	p.start()
	m := newSite(t, p.mesh)
	b := m.backend("a", "")
	m.route("r", `rules: [{backendRefs: [{name: a, port: 80}]}]`)
	m.answers(`/ → a`)
	answered := make(chan error)
	go func() {
		a, err := m.try(m.client, "/?delay=1s")
		if err == nil && a.by() != "a" {
			err = fmt.Errorf("answered by %s", a.by())
		}
		answered <- err
	}()
	if err := poll(func() error { return enough(len(b.sawURI("/?delay=1s")), 1) }); err != nil {
		t.Error(err)
	}
	p.interrupt()
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func TestSecondRunSaysWhoIsFirst(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	status := p.start()
	m := p.served()
	second := run(t, p.arguments()...)
	if second.code != 2 || !strings.Contains(second.stderr, strconv.Itoa(status.PID)) ||
		!strings.Contains(second.stderr, p.stateDir) || !strings.Contains(second.stderr, "--state-dir") {
		t.Errorf("exit code %d, %s", second.code, second.stderr)
	}
	m.answers(`/ → a`)
}

func TestStateDirTooLong(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	p.stateDir = filepath.Join(p.root, strings.Repeat("x", 100))
	got := run(t, p.arguments()...)
	if got.code != 2 || !strings.Contains(got.stderr, "too long") || !strings.Contains(got.stderr, p.stateDir) {
		t.Errorf("exit code %d, %s", got.code, got.stderr)
	}
	if strings.Count(got.stderr, "\n") != 1 {
		t.Errorf("more than a line: %s", got.stderr)
	}
}

func TestBadArguments(t *testing.T) {
	t.Parallel()
	empty := t.TempDir()
	for _, c := range []struct{ want, args string }{
		{"/does/not/exist", "run /does/not/exist --state-dir STATE"},
		{"--port-offset", "run EMPTY --state-dir STATE --port-offset 70000"},
		{"--address", "run EMPTY --state-dir STATE --address x"},
		{"--log-level", "run EMPTY --state-dir STATE --log-level loud"},
		{"make tools", "run EMPTY --state-dir STATE --envoy /does/not/exist"},
		{"requires at least 1 arg", "run"},
		{"requires at least 1 arg", "analyze"},
		{"--port-offset", "analyze EMPTY --port-offset -1"},
		{"unknown command", "dance"},
		{"waggle run", "status --state-dir STATE"},
	} {
		args := strings.Fields(replace(c.args, "STATE", filepath.Join(empty, "s"), "EMPTY", empty))
		got := run(t, args...)
		if got.code != 2 || !strings.Contains(got.stderr, c.want) || !strings.HasPrefix(got.stderr, "waggle: ") {
			t.Errorf("waggle %s: exit code %d, %q, want %q in it", c.args, got.code, got.stderr, c.want)
		}
	}
}

// TestTakeOver: waggle is killed, Envoy goes on, the next waggle takes it
// over: no request fails, and edits made meanwhile and later arrive.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	before := p.start()
	m := p.served()
	load := m.load("/", "a b")
	load.some(20)
	for _, backend := range []string{"b", "a"} {
		p.kill()
		load.some(50)
		m.route("r", fmt.Sprintf("rules: [{backendRefs: [{name: %s, port: 80}]}]", backend))
		after := p.start()
		if !after.Envoy.Adopted || after.Envoy.PID != before.Envoy.PID {
			t.Errorf("Envoy %d before, %d after, taken over: %t", before.Envoy.PID, after.Envoy.PID, after.Envoy.Adopted)
		}
		load.await(backend, 50)
	}
	m.route("r", `rules: [{backendRefs: [{name: b, port: 80}]}]`)
	load.await("b", 20)
	load.finish()
}

// TestRestartWithBrokenFile: the file is named, what others hold goes on
// being served, and what it held is served when it parses again.
func TestRestartWithBrokenFile(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	p.start()
	m := p.served()
	m.apply("whole", pathRoute("whole", "/whole", "a"))
	m.apply("half", pathRoute("half", "/half", "b"))
	m.answers("/whole → a\n/half → b")
	load := m.load("/whole", "a")
	m.write(m.file("half"), pathRoute("half", "/half", "b")[:60])
	m.awaitProblem("half.yaml", "does not parse")
	m.answers("/half → b")
	p.kill()
	p.start()
	if problem := m.awaitProblem("half.yaml", "does not parse"); problem.Stale {
		t.Errorf("a version from before the restart is said to be served: %+v", problem)
	}
	m.answers("/whole → a")
	m.apply("half", pathRoute("half", "/half", "b"))
	m.answers("/half → b")
	m.awaitNoConditions()
	load.finish()
}

// TestEnvoyDies: another one starts, with the same configuration. In between
// nothing is said to be served.
func TestEnvoyDies(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	before := p.start()
	m := p.served()
	waiting := func() int { return strings.Count(p.log.String(), "waiting for Envoy: "+m.namespace+"/gw http\n") }
	row := func() int { return strings.Count(p.log.String(), m.namespace+"/gw  http ") }
	for n := 1; n <= 2; n++ {
		waited, rows := waiting(), row()
		if err := syscall.Kill(before.Envoy.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		m.await(func(s *standalone.Status) error {
			if s.Envoy.Restarts != n || s.Envoy.State != "LIVE" || !s.Envoy.Connected {
				return fmt.Errorf("%d restarts, Envoy is %s", s.Envoy.Restarts, s.Envoy.State)
			}
			before = s
			return nil
		})
		m.answers(`/ → a`)
		m.awaitNoConditions()
		if err := poll(func() error { return enough(row(), rows+1) }); err != nil {
			t.Errorf("the listener is not said to be back: %v", err)
		}
		if got := waiting(); got != waited+1 {
			t.Errorf("it was said %d times that the listener waits, want %d", got, waited+1)
		}
	}
}
