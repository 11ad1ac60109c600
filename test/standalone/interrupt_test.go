package standalone_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/envoy"
)

// TestSecondInterruptEndsAtOnce: Envoy does not wait for requests then, and
// does not stay either.
func TestSecondInterruptEndsAtOnce(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	status := p.start()
	m := newSite(t, p.mesh)
	b := m.backend("a", "")
	m.route("r", `rules: [{backendRefs: [{name: a, port: 80}]}]`)
	m.answers(`/ → a`)
	given := make(chan struct{})
	go func() {
		defer close(given)
		m.try(m.client, "/?delay=20s") // which nobody waits for
	}()
	defer func() { m.client.CloseIdleConnections(); <-given }()
	if err := poll(func() error { return enough(len(b.sawURI("/?delay=20s")), 1) }); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	p.cmd.Process.Signal(syscall.SIGINT)
	if err := poll(func() error {
		if !strings.Contains(p.log.String(), "once more to stop at once") {
			return errors.New("it does not say that it stops")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if code := p.interrupt(); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.log)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("it took %s", took)
	}
	if alive(status.Envoy.PID) {
		t.Error("Envoy goes on")
		syscall.Kill(status.Envoy.PID, syscall.SIGKILL)
	}
	p.leftNothing()
}

// TestInterruptWhileStarting: nothing is left of what was begun.
func TestInterruptWhileStarting(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	p.options.Envoy = filepath.Join(p.root, "slow-envoy")
	const script = "#!/bin/sh\n[ $1 = --version ] && echo version: x/" + envoy.Version + "/x || exec sleep 60\n"
	if err := os.WriteFile(p.options.Envoy, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(waggle(t), p.arguments()...)
	c.Stdout, c.Stderr = p.log, p.log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := poll(func() error { _, err := os.Stat(filepath.Join(p.stateDir, "envoy.log")); return err }); err != nil {
		t.Error(err)
	}
	c.Process.Signal(syscall.SIGINT)
	if err := c.Wait(); err != nil {
		t.Errorf("%v\n%s", err, p.log)
	}
	p.leftNothing()
}

func (p *process) leftNothing() {
	p.t.Helper()
	if _, err := os.Stat(p.stateDir); !os.IsNotExist(err) {
		left, _ := os.ReadDir(p.stateDir)
		p.t.Errorf("the state directory is still there, with %v", left)
	}
}
