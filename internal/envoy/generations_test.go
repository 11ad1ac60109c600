package envoy_test

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/envoy"
)

// bases are the data path's two, and the Envoys that it has.
type bases struct {
	sync.Mutex
	current, previous uint16
	served            []uint16
}

func (b *bases) active() (current, previous uint16, err error) {
	b.Lock()
	defer b.Unlock()
	return b.current, b.previous, nil
}

func (b *bases) set(current, previous uint16) error {
	b.Lock()
	defer b.Unlock()
	b.current, b.previous = current, previous
	return nil
}

func (b *bases) living() ([]uint16, error) {
	b.Lock()
	defer b.Unlock()
	return slices.Clone(b.served), nil
}

// TestSuccessorArrivesFirst: an agent has begun while an Envoy is being replaced,
// and hears of the new one before the old one has connected again. The old one is
// drained when it comes, and is not used again.
func TestSuccessorArrivesFirst(t *testing.T) {
	b := &bases{current: 1, served: []uint16{1, 2}}
	g := envoy.NewGenerations(envoy.GenerationsOptions{
		Active: b.active, SetActive: b.set, Served: b.living,
		Acknowledged: func(uint16) bool { return true },
		Covers:       func(uint16, uint16) (bool, error) { return true, nil },
		Admin:        func(*os.Process) *envoy.Admin { return envoy.NewAdmin(filepath.Join(t.TempDir(), "nobody")) },
		Event:        func(reason, message string) { t.Errorf("%s: %s", reason, message) },
		Settle:       time.Millisecond, Limit: 50 * time.Millisecond,
	}, slog.New(slog.DiscardHandler))
	go g.Run(t.Context())
	process := func() *os.Process {
		cmd := exec.Command("sleep", "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		return cmd.Process
	}
	arrives := func(base uint16, p *os.Process, current, previous uint16) {
		t.Helper()
		if err := g.Arrived(base, p); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			c, p, _ := b.active()
			if c == current && p == previous {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%d has arrived: %d and %d are active, want %d and %d", base, c, p, current, previous)
			}
		}
	}
	old := process()
	arrives(2, process(), 2, 1)
	arrives(1, old, 2, 1)
	if err := g.WaitDrained(t.Context(), old.Pid); err != nil {
		t.Error(err)
	}
	if c, p, _ := b.active(); c != 2 || p != 1 {
		t.Errorf("%d and %d are active in the end, want 2 and 1", c, p)
	}
}
