package envoy_test

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/envoy"
)

// TestEmptiedStaysPrevious: an Envoy that has been emptied and lives when the
// agent begins again is not taken for a successor.
func TestEmptiedStaysPrevious(t *testing.T) {
	b := &bases{current: 1, served: []uint16{1, 2}}
	agent := func() (*envoy.Generations, context.CancelFunc) {
		g := envoy.NewGenerations(envoy.GenerationsOptions{
			Active: b.active, SetActive: b.set, Served: b.living,
			Acknowledged: func(uint16) bool { return true },
			Covers:       func(uint16, uint16) (bool, error) { return true, nil },
			Admin:        func(*os.Process) *envoy.Admin { return envoy.NewAdmin(filepath.Join(t.TempDir(), "nobody")) },
			Event:        func(reason, message string) { t.Errorf("%s: %s", reason, message) },
			Settle:       time.Millisecond, Limit: 50 * time.Millisecond,
		}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		go g.Run(ctx)
		return g, cancel
	}
	process := func() *os.Process {
		cmd := exec.Command("sleep", "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		return cmd.Process
	}
	old, fresh := process(), process()
	first, end := agent()
	for base, p := range map[uint16]*os.Process{1: old, 2: fresh} {
		if err := first.Arrived(base, p); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.WaitDrained(t.Context(), old.Pid); err != nil {
		t.Fatal(err)
	}
	end()
	second, _ := agent()
	if err := second.Arrived(1, old); err != nil {
		t.Fatal(err)
	}
	if err := second.Arrived(2, fresh); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := second.WaitDrained(ctx, old.Pid); err != nil {
		t.Errorf("the old one, again: %v", err)
	}
	if c, _, _ := b.active(); c != 2 {
		t.Errorf("%d is active, want 2", c)
	}
}
