package measure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"
)

// Waggle is a running `waggle run` with its Envoy.
type Waggle struct {
	*Process
	// EnvoyPID is the Envoy's, once Rest or Settled has returned.
	EnvoyPID int

	binary, state string
}

// Binaries are the programs under test.
type Binaries struct {
	Waggle string
	Envoy  string
}

// Run starts `waggle run` on manifests. Dir is for what it leaves behind.
func (b Binaries) Run(dir, manifests string, flags ...string) (*Waggle, error) {
	state := filepath.Join(dir, "state")
	argv := append([]string{b.Waggle, "run", manifests, "--envoy", b.Envoy, "--state-dir", state,
		"--address", "127.0.0.1", "--port-offset", "0", "--log-level", "warn"}, flags...)
	p, err := Start(dir, "waggle", argv...)
	if err != nil {
		return nil, err
	}
	return &Waggle{Process: p, binary: b.Waggle, state: state}, nil
}

// Rest waits until waggle and Envoy have nothing more to do, by the CPU that
// they take: to ask would be work again.
func (w *Waggle) Rest(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	const interval, still = 500 * time.Millisecond, 12
	var before time.Duration
	calm := 0
	return w.Until(ctx, interval, "it came to rest", func() error {
		family := w.Family()
		if len(family) < 2 {
			return errors.New("no Envoy yet")
		}
		w.EnvoyPID = family[1]
		now, err := CPU(family...)
		if err != nil {
			return err
		}
		used := now - before
		before = now
		if calm++; used > interval/20 {
			calm = 0
		}
		if calm < still {
			return fmt.Errorf("%s of CPU in %s", used, interval)
		}
		return nil
	})
}

// Settled waits until everything has been acknowledged by Envoy.
func (w *Waggle) Settled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return w.Until(ctx, 200*time.Millisecond, "Envoy took everything", func() error {
		// The exit code speaks of the user's mistakes; what counts is here.
		text, err := exec.CommandContext(ctx, w.binary, "status", "--state-dir", w.state, "-o", "json").Output()
		if len(text) == 0 {
			return fmt.Errorf("ask status: %w", err)
		}
		var status struct {
			Envoy     struct{ PID int }
			Resources []struct {
				Type                        string
				Accepted, Pending, Rejected int
			}
		}
		if err := json.Unmarshal(text, &status); err != nil {
			return fmt.Errorf("read status: %w", err)
		}
		w.EnvoyPID = status.Envoy.PID
		if w.EnvoyPID == 0 || len(status.Resources) == 0 {
			return errors.New("no Envoy yet")
		}
		for _, r := range status.Resources {
			if r.Pending+r.Rejected > 0 {
				return fmt.Errorf("%s: %d pending, %d rejected", r.Type, r.Pending, r.Rejected)
			}
		}
		return nil
	})
}
