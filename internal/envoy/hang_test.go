package envoy_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/envoy"
)

// hanging makes the binary of opts one that hangs while a file is there.
func hanging(t *testing.T, opts *envoy.Options) (file string) {
	t.Helper()
	file = filepath.Join(filepath.Dir(opts.StateDir), "hang")
	script := filepath.Join(filepath.Dir(opts.StateDir), "envoy")
	text := fmt.Sprintf("#!/bin/sh\n[ \"$1\" != --version ] && [ -e %s ] && exec sleep 1000\nexec %s \"$@\"\n", file, opts.Binary)
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	opts.Binary = script
	return file
}

// TestRestartThatHangs: an Envoy that is started again and does not answer is
// killed, that is logged, and another one is started.
func TestRestartThatHangs(t *testing.T) {
	envoy.WithStartPatience(t, 2*time.Second)
	opts, port := options(t)
	hang := hanging(t, &opts)
	log := &journal{}
	p, err := envoy.Start(t.Context(), opts, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop(context.Background())
	if err := os.WriteFile(hang, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	syscall.Kill(p.PID(), syscall.SIGKILL)
	eventually(t, func() error {
		if !strings.Contains(log.String(), "does not answer") {
			return fmt.Errorf("nothing is logged:\n%s", log)
		}
		return nil
	})
	if err := os.Remove(hang); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { return get(port, "") })
	eventually(t, func() error {
		if n := p.Restarts(); n != 1 {
			return fmt.Errorf("%d restarts", n)
		}
		return nil
	})
}

// TestStopDuringRestartThatHangs ends at once.
func TestStopDuringRestartThatHangs(t *testing.T) {
	opts, _ := options(t)
	hang := hanging(t, &opts)
	log := &journal{}
	p, err := envoy.Start(t.Context(), opts, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(hang, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	started := strings.Count(log.String(), "started Envoy")
	syscall.Kill(p.PID(), syscall.SIGKILL)
	eventually(t, func() error {
		if strings.Count(log.String(), "started Envoy") == started {
			return fmt.Errorf("not started again:\n%s", log)
		}
		return nil
	})
	if err := p.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	if names := left(t, opts.StateDir); len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
}

// TestFailedStartLeavesNoDescriptor, be it that Envoy ends or that it hangs.
func TestFailedStartLeavesNoDescriptor(t *testing.T) {
	envoy.WithStartPatience(t, time.Second)
	opts, _ := options(t)
	hang := hanging(t, &opts)
	fail := func() {
		t.Helper()
		if p, err := envoy.Start(t.Context(), opts, slog.New(slog.DiscardHandler)); err == nil {
			p.Stop(context.Background())
			t.Fatal("Envoy has started")
		}
	}
	before := pidfds(t)
	if err := os.WriteFile(hang, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fail()
	if err := os.Remove(hang); err != nil {
		t.Fatal(err)
	}
	opts.Bootstrap = []byte(`{"nonsense": 1}`)
	fail()
	if after := pidfds(t); after != before {
		t.Errorf("%d pidfds before, %d after", before, after)
	}
}

func pidfds(t *testing.T) (n int) {
	t.Helper()
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if name, _ := os.Readlink(fd); strings.Contains(name, "pidfd") {
			n++
		}
	}
	return n
}

// journal is a log that can be read while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}
