package standalone_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/waggle-mesh/waggle/internal/standalone"
)

// binary is the program, built once for all tests that want it.
var binary struct {
	once sync.Once
	dir  string
	err  error
}

func waggle(t *testing.T) string {
	t.Helper()
	b := &binary
	b.once.Do(func() {
		if b.dir, b.err = os.MkdirTemp("", "waggle"); b.err != nil {
			return
		}
		build := exec.Command("go", "build", "-ldflags", "-X main.version=test", "-o", b.dir, "../../cmd/waggle")
		if out, err := build.CombinedOutput(); err != nil {
			b.err = fmt.Errorf("build waggle: %w\n%s", err, out)
		}
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	return filepath.Join(b.dir, "waggle")
}

func removeBinary() { os.RemoveAll(binary.dir) }

// outcome is what a command came to.
type outcome struct {
	code           int
	stdout, stderr string
}

// run runs a command of waggle to its end.
func run(t *testing.T, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	c := exec.CommandContext(ctx, waggle(t), args...)
	c.Stdout, c.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := c.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatalf("waggle %v: %v", args, err)
	}
	return outcome{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// process is `waggle run` as a process of its own.
type process struct {
	*mesh
	t    *testing.T
	cmd  *exec.Cmd
	gone chan struct{} // closed when it has ended
}

// newProcess makes a mesh for processes, none of which outlive the test.
func newProcess(t *testing.T) *process {
	t.Helper()
	m, err := newMesh(standalone.Options{PortOffset: offset, Address: nextAddress()})
	if err != nil {
		t.Fatal(err)
	}
	p := &process{mesh: m, t: t}
	t.Cleanup(func() {
		p.interrupt()
		os.RemoveAll(m.root)
	})
	return p
}

func (p *process) arguments() []string {
	o := p.options
	args := []string{"run", p.dir, "--state-dir", p.stateDir, "--envoy", o.Envoy, "--concurrency", "1",
		"--port-offset", strconv.Itoa(o.PortOffset)}
	if o.Address.IsValid() {
		args = append(args, "--address", o.Address.String())
	}
	return args
}

// start runs the process, and waits until it and Envoy answer.
func (p *process) start() *standalone.Status {
	p.t.Helper()
	p.cmd, p.gone = exec.Command(waggle(p.t), p.arguments()...), make(chan struct{})
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func(c *exec.Cmd, gone chan struct{}) {
		c.Wait()
		close(gone)
	}(p.cmd, p.gone)
	var status *standalone.Status
	err := p.await(func(s *standalone.Status) error {
		status = s
		if s.PID != p.cmd.Process.Pid || s.Envoy.State != "LIVE" || !s.Envoy.Connected {
			return fmt.Errorf("process %d; Envoy is %s", s.PID, s.Envoy.State)
		}
		return nil
	})
	if err != nil {
		p.t.Fatalf("%v\n%s", err, p.log)
	}
	return status
}

// interrupt presses Ctrl-C, waits and gives the exit code.
func (p *process) interrupt() int { return p.end(syscall.SIGINT) }

// kill is kill -9.
func (p *process) kill() { p.end(syscall.SIGKILL) }

func (p *process) end(s syscall.Signal) int {
	if p.cmd == nil {
		return 0
	}
	p.cmd.Process.Signal(s)
	<-p.gone
	code := p.cmd.ProcessState.ExitCode()
	if s == syscall.SIGINT {
		p.cmd = nil
	}
	return code
}

// alive tells whether a process is.
func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }
