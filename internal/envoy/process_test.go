package envoy_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/envoy"
)

func logger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

func start(t *testing.T, opts envoy.Options) *envoy.Process {
	t.Helper()
	p, err := envoy.Start(t.Context(), opts, logger(t))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func stop(t *testing.T, p *envoy.Process) {
	t.Helper()
	if err := p.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestStopLetsRequestsEndAndLeavesNothing(t *testing.T) {
	opts, port := options(t)
	p := start(t, opts)
	eventually(t, func() error { return p.Admin().Ready(t.Context()) })

	slow, kept := make(chan error, 1), &http.Client{Transport: &http.Transport{}}
	defer kept.CloseIdleConnections()
	if err := getWith(kept, port, ""); err != nil {
		t.Fatal(err)
	}
	go func() { slow <- get(port, "?sleep=700ms") }()
	eventually(t, func() error {
		stats, err := p.Admin().Stats(t.Context(), `^http\.main\.downstream_rq_active$`)
		if err == nil && stats["http.main.downstream_rq_active"] != 1 {
			err = fmt.Errorf("stats %v, want one active request", stats)
		}
		return err
	})
	from := time.Now()
	stop(t, p)
	if err := <-slow; err != nil {
		t.Errorf("request under way: %v", err)
	}
	if d := time.Since(from); d > 8*time.Second {
		t.Errorf("stopped after %v", d)
	}
	if pids, files := envoysOf(t, opts.StateDir), left(t, opts.StateDir); len(pids)+len(files) > 0 {
		t.Errorf("left: processes %v, files %v", pids, files)
	}
	if err := get(port, ""); err == nil {
		t.Error("somebody still answers")
	}
}

func TestStopDoesNotWaitForEver(t *testing.T) {
	opts, port := options(t)
	p := start(t, opts)
	done := make(chan struct{})
	go func() { defer close(done); get(port, "?sleep=3s") }()
	eventually(t, func() error {
		stats, err := p.Admin().Stats(t.Context(), `rq_active$`)
		if err == nil && stats["http.main.downstream_rq_active"] != 1 {
			err = fmt.Errorf("stats %v, want one active request", stats)
		}
		return err
	})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	from := time.Now()
	if err := p.Stop(ctx); err != nil {
		t.Error(err)
	}
	if d := time.Since(from); d > 2*time.Second {
		t.Errorf("stopped after %v", d)
	}
	<-done
}

// Nobody notices that waggle is killed, and the next takes Envoy over.
func TestKilledWaggleIsSucceeded(t *testing.T) {
	opts, port := options(t)
	s := startSupervisor(t, opts)
	pid, adopted := s.started(t)
	if adopted {
		t.Error("adopted an Envoy that cannot be")
	}
	eventually(t, func() error { return get(port, "") })
	if sid, err := syscall.Getpgid(pid); err != nil || sid != pid {
		t.Errorf("Envoy is in process group %d, %v: Ctrl-C would reach it", sid, err)
	}

	quit, failed := make(chan struct{}), make(chan error, 100)
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for {
				select {
				case <-quit:
					return
				case <-time.After(time.Millisecond):
				}
				if err := getWith(client, port, ""); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	for i := range 3 {
		// The whole process group, as a terminal would.
		syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		s.cmd.Wait()
		again := opts
		if i == 1 {
			again.LogLevel = "info" // no reason to replace it
		}
		s = startSupervisor(t, again)
		if now, adopted := s.started(t); now != pid || !adopted {
			t.Errorf("Envoy is %d, adopted %v; want %d adopted", now, adopted, pid)
		}
	}
	close(quit)
	load.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}

	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if pids, files := envoysOf(t, opts.StateDir), left(t, opts.StateDir); len(pids)+len(files) > 0 {
		t.Errorf("left: processes %v, files %v", pids, files)
	}
}

// Whenever waggle is killed while it starts, there is never a second Envoy and
// the next one comes up.
func TestKilledAtAnyInstant(t *testing.T) {
	opts, port := options(t)
	for i := range 25 {
		s := startSupervisor(t, opts)
		time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
		s.kill()
		if pids := envoysOf(t, opts.StateDir); len(pids) > 1 {
			t.Fatalf("round %d: Envoys %v", i, pids)
		} else if len(pids) == 1 && i%3 == 0 {
			syscall.Kill(pids[0], syscall.SIGKILL) // else all rounds but the first adopt
		}
	}
	p := start(t, opts)
	eventually(t, func() error { return get(port, "") })
	if pids := envoysOf(t, opts.StateDir); len(pids) != 1 || pids[0] != p.PID() {
		t.Errorf("Envoys %v, want %d", pids, p.PID())
	}
	stop(t, p)
	if pids, files := envoysOf(t, opts.StateDir), left(t, opts.StateDir); len(pids) > 0 || strings.Join(files, " ") != "waggle.lock" {
		t.Errorf("left: processes %v, files %v", pids, files) // waggle.lock is of the killed ones
	}
}

func TestEnvoyThatDiesIsStartedAgain(t *testing.T) {
	opts, port := options(t)
	p := start(t, opts)
	for i := range 2 {
		pid := p.PID()
		syscall.Kill(pid, syscall.SIGKILL)
		eventually(t, func() error {
			if now := p.PID(); now == 0 || now == pid {
				return fmt.Errorf("Envoy is %d, and was %d", now, pid)
			}
			return get(port, "")
		})
		if p.Restarts() != i+1 {
			t.Errorf("%d restarts, want %d", p.Restarts(), i+1)
		}
	}
	stop(t, p)
}

// The same where the kernel has no pidfd: own child, and found.
func TestOldKernel(t *testing.T) {
	envoy.WithoutPidfd(t)
	opts, port := options(t)
	s := startSupervisor(t, opts)
	pid, _ := s.started(t)
	s.kill()
	p := start(t, opts)
	if p.PID() != pid {
		t.Errorf("took over %d and not %d", p.PID(), pid)
	}
	for range 2 {
		pid := p.PID()
		syscall.Kill(pid, syscall.SIGKILL)
		eventually(t, func() error {
			if now := p.PID(); now == 0 || now == pid {
				return fmt.Errorf("Envoy is %d, and was %d", now, pid)
			}
			return get(port, "")
		})
	}
	stop(t, p)
	if pids, files := envoysOf(t, opts.StateDir), left(t, opts.StateDir); len(pids) > 0 || len(files) > 1 {
		t.Errorf("left: processes %v, files %v", pids, files)
	}
}

func TestStopWhileEnvoyIsDown(t *testing.T) {
	opts, _ := options(t)
	p := start(t, opts)
	syscall.Kill(p.PID(), syscall.SIGKILL)
	eventually(t, func() error {
		if p.PID() != 0 {
			return errors.New("Envoy lives")
		}
		return nil
	})
	stop(t, p)
	stop(t, p) // again
	if pids, files := envoysOf(t, opts.StateDir), left(t, opts.StateDir); len(pids)+len(files) > 0 {
		t.Errorf("left: processes %v, files %v", pids, files)
	}
}

// When ctx ends Envoy is left alone, and can be stopped all the same.
func TestEnvoyOutlivesContext(t *testing.T) {
	opts, port := options(t)
	ctx, cancel := context.WithCancel(t.Context())
	p, err := envoy.Start(ctx, opts, logger(t))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	eventually(t, func() error { return get(port, "") })
	stop(t, p)
	if pids := envoysOf(t, opts.StateDir); len(pids) > 0 {
		t.Errorf("left: processes %v", pids)
	}
}

func TestSurvivorThatDoesNotFitIsReplaced(t *testing.T) {
	tests := map[string]func(t *testing.T, opts *envoy.Options, pid int){
		"other bootstrap": func(t *testing.T, opts *envoy.Options, _ int) {
			opts.Bootstrap = []byte(strings.Replace(string(opts.Bootstrap), `"all"`, `"every"`, 1))
		},
		"other settings": func(t *testing.T, opts *envoy.Options, _ int) { opts.Concurrency = 2 },
		"other binary": func(t *testing.T, opts *envoy.Options, _ int) {
			dir := filepath.Dir(opts.StateDir)
			copied := filepath.Join(dir, "envoy")
			if err := exec.Command("cp", opts.Binary, copied).Run(); err != nil {
				t.Fatal(err)
			}
			opts.Binary = copied
		},
		"hung": func(t *testing.T, _ *envoy.Options, pid int) { syscall.Kill(pid, syscall.SIGSTOP) },
		"draining": func(t *testing.T, opts *envoy.Options, pid int) {
			paths, err := envoy.PathsIn(opts.StateDir)
			if err != nil {
				t.Fatal(err)
			}
			if err := envoy.NewAdmin(paths.AdminSocket).Drain(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts, port := options(t)
			s := startSupervisor(t, opts)
			pid, _ := s.started(t)
			s.kill()
			change(t, &opts, pid)
			p := start(t, opts)
			eventually(t, func() error { return get(port, "") })
			if pids := envoysOf(t, opts.StateDir); p.Adopted() || len(pids) != 1 || pids[0] == pid {
				t.Errorf("Envoys %v, adopted %v, the old one was %d", pids, p.Adopted(), pid)
			}
			stop(t, p)
		})
	}
}

// White space in the bootstrap, which protojson varies, is no difference.
func TestReformattedBootstrapIsAdopted(t *testing.T) {
	opts, _ := options(t)
	s := startSupervisor(t, opts)
	pid, _ := s.started(t)
	s.kill()
	opts.Bootstrap = []byte(strings.ReplaceAll(string(opts.Bootstrap), "\n", " \n\t"))
	p := start(t, opts)
	if p.PID() != pid || !p.Adopted() {
		t.Errorf("Envoy is %d, adopted %v, and was %d", p.PID(), p.Adopted(), pid)
	}
	stop(t, p)
}

// A process that merely reads the lock file is not taken for Envoy.
func TestReaderOfLockFileIsNotEnvoy(t *testing.T) {
	opts, _ := options(t)
	s := startSupervisor(t, opts)
	pid, _ := s.started(t)
	s.kill()
	reader := exec.Command("tail", "-f", filepath.Join(opts.StateDir, "envoy.lock"))
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { reader.Process.Kill(); reader.Wait() }()
	p := start(t, opts)
	if p.PID() != pid {
		t.Errorf("took over %d and not %d", p.PID(), pid)
	}
	stop(t, p)
	if err := reader.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the reader was killed: %v", err)
	}
}

func TestUnprivileged(t *testing.T) {
	opts, port := options(t)
	var as []func(*exec.Cmd)
	if os.Getuid() == 0 {
		const nobody = 65534
		dir := filepath.Dir(opts.StateDir)
		self := filepath.Join(dir, "self") // go test's own folder is closed to others
		if err := exec.Command("cp", os.Args[0], self).Run(); err != nil {
			t.Fatal(err)
		}
		for _, d := range []string{dir, opts.StateDir} {
			if err := os.Chown(d, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
		as = append(as, func(cmd *exec.Cmd) {
			cmd.Path = self
			cmd.Dir = dir
			cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		})
	}
	s := startSupervisor(t, opts, as...)
	pid, _ := s.started(t)
	eventually(t, func() error { return get(port, "") })
	s.kill()
	s = startSupervisor(t, opts, as...)
	if now, adopted := s.started(t); now != pid || !adopted {
		t.Errorf("Envoy is %d, adopted %v; want %d adopted", now, adopted, pid)
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if pids, files := envoysOf(t, opts.StateDir), left(t, opts.StateDir); len(pids)+len(files) > 0 {
		t.Errorf("left: processes %v, files %v", pids, files)
	}
}
