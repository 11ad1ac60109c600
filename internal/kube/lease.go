package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waggle-mesh/waggle/internal/model"
)

// Election makes one of several processes the leader, by a Lease, in the way
// of client-go and all of Kubernetes: who holds the Lease renews it, and who
// sees it not renewed for its duration takes it. Clocks need not agree; each
// process measures by its own how long it has seen no renewal.
type Election struct {
	Lease    model.Name
	Identity string        // of this process; no other ever has the same
	Duration time.Duration // how long a leader may be silent
	Deadline time.Duration // after which a leader that cannot renew stops; less than Duration
	Retry    time.Duration // between two tries to take or to renew
	Log      *slog.Logger
}

// NewElection has the durations that Kubernetes' own components use: a leader
// that ends without a word is followed within 17.4 s, another within 2.4 s.
func NewElection(lease model.Name, identity string, log *slog.Logger) Election {
	return Election{Lease: lease, Identity: identity, Duration: 15 * time.Second, Deadline: 10 * time.Second, Retry: 2 * time.Second, Log: log}
}

// ErrLeaderNoMore is returned to a leader that could not renew its Lease.
var ErrLeaderNoMore = errors.New("the Lease could not be renewed in time")

// Lead waits until this process is the leader, and lets it work. The context
// of work ends when ctx does, or when another process may be the leader soon.
// Only when work has returned is the Lease given up.
func (e Election) Lead(ctx context.Context, c *Client, work func(ctx context.Context) error) error {
	held := &hold{Election: e, client: c}
	for told := ""; !held.take(ctx); {
		if who := held.other(); who != told {
			e.Log.Info("another process leads", "leader", who, "lease", e.Lease)
			told = who
		}
		if !pause(ctx, e.Retry) {
			return ctx.Err()
		}
	}
	e.Log.Info("this process leads", "lease", e.Lease)
	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	done := make(chan error, 1)
	go func() { done <- work(working) }()
	err := held.keep(ctx, done, stop)
	if lost := context.Cause(working); errors.Is(lost, ErrLeaderNoMore) {
		return fmt.Errorf("lead by Lease %s: %w", e.Lease, lost)
	}
	held.giveUp(context.WithoutCancel(ctx))
	return err
}

// pause waits, with some jitter, and tells whether ctx lives on.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d + rand.N(d/5+1)):
		return true
	case <-ctx.Done():
		return false
	}
}

// hold is what one process knows of the Lease.
type hold struct {
	Election
	client *Client
	seen   *coordinationv1.Lease // the newest; nil: none
	since  time.Time             // when it was first seen so
}

// keep renews until work has ended, and has it stop when that fails too long.
func (h *hold) keep(ctx context.Context, done <-chan error, stop func(error)) error {
	renewed := time.Now()
	tick := time.NewTicker(h.Retry)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
		}
		limited, cancel := context.WithDeadline(context.WithoutCancel(ctx), renewed.Add(h.Deadline))
		if h.take(limited) {
			renewed = time.Now()
		}
		cancel()
		if time.Since(renewed) >= h.Deadline || h.other() != "" {
			stop(ErrLeaderNoMore)
			return <-done
		}
	}
}

// take takes or renews the Lease, if nobody else holds it.
func (h *hold) take(ctx context.Context) bool {
	have, err := Get(ctx, h.client, Leases, h.Lease)
	if err != nil && !errors.Is(err, ErrNotFound) {
		h.Log.Debug("read the Lease", "error", err)
		return false
	}
	if err != nil {
		have = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: h.Lease.Namespace, Name: h.Lease.Name}}
	} else {
		h.see(have)
		if h.other() != "" {
			return false
		}
	}
	want := claimed(have, h.Identity, h.Duration)
	write := Update[*coordinationv1.Lease]
	if have.ResourceVersion == "" {
		write = Create[*coordinationv1.Lease]
	}
	made, err := write(ctx, h.client, Leases, want)
	if err != nil {
		h.Log.Debug("write the Lease", "error", err)
		return false
	}
	h.see(made)
	return true
}

func (h *hold) see(lease *coordinationv1.Lease) {
	if h.seen == nil || h.seen.ResourceVersion != lease.ResourceVersion {
		h.seen, h.since = lease, time.Now()
	}
}

// other is another process that holds the Lease; empty: none.
func (h *hold) other() string {
	if h.seen == nil {
		return ""
	}
	holder := valueOf(h.seen.Spec.HolderIdentity)
	if holder == h.Identity || time.Since(h.since) >= h.Duration {
		return ""
	}
	return holder
}

// giveUp lets another process take the Lease at once.
func (h *hold) giveUp(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, h.Retry)
	defer cancel()
	free := h.seen.DeepCopy()
	free.Spec.HolderIdentity = new(string)
	if _, err := Update(limited, h.client, Leases, free); err != nil {
		h.Log.Warn("give up leading; the next leader has to wait", "error", err)
	}
}

func valueOf[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
