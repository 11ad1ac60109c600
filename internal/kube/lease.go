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
//
//	          sent  stored  answered
//	leader    ──┬─────┬─────┬──── works ────┤ Deadline
//	API server        │
//	another           └──┬── sees it, waits ────────┤ Duration: takes it
//
// No two work at once, as far as clocks run at one speed: the leader counts
// from when it sent the last renewal that was answered, which is before
// anybody can have seen that. A leader that was cut off leads again with a
// renewal of the Lease as it left it, and another with a write upon the same
// version: the API server takes one of the two.
type Election struct {
	Lease    model.Name
	Identity string        // of this process; no other ever has the same
	Duration time.Duration // how long a leader may be silent
	Deadline time.Duration // after which a leader that cannot renew stops; less than Duration
	Retry    time.Duration // between two tries to take or to renew
	Log      *slog.Logger
}

// NewElection has the durations that Kubernetes' own components use: a leader
// that ends without a word is followed within 18 s, another within 2.4 s.
func NewElection(lease model.Name, identity string, log *slog.Logger) Election {
	return Election{Lease: lease, Identity: identity, Duration: 15 * time.Second, Deadline: 10 * time.Second, Retry: 2 * time.Second, Log: log}
}

// ErrLeaderNoMore is returned to a leader whose Lease does not name it any more:
// another leads, or has led.
var ErrLeaderNoMore = errors.New("another process has taken the Lease, or somebody removed it")

// errCutOff is how a term ends that could not be renewed in time.
var errCutOff = errors.New("the Lease could not be renewed in time")

// Lead waits until this process is the leader, and lets it work. The context
// of work ends when ctx does, or when another process may be the leader soon;
// if none has become it, work is called again as soon as the Lease is renewed:
// nobody else has led in between. Only when work has returned is the Lease
// given up.
func (e Election) Lead(ctx context.Context, c *Client, work func(ctx context.Context) error) error {
	held := &hold{Election: e, client: c}
	for told := ""; !held.take(ctx); {
		if who := held.other(); who != told {
			e.Log.Info("another process leads", "leader", who, "lease", e.Lease)
			told = who
		}
		if !pause(ctx, held.patience()) {
			return ctx.Err()
		}
	}
	for {
		e.Log.Info("this process leads", "lease", e.Lease)
		err := held.term(ctx, work)
		if errors.Is(err, errCutOff) {
			e.Log.Warn("this process does not lead until it can renew its Lease", "lease", e.Lease)
			if err = held.again(ctx); err == nil {
				continue
			}
		}
		if errors.Is(err, ErrLeaderNoMore) {
			return fmt.Errorf("lead by Lease %s: %w", e.Lease, err)
		}
		held.giveUp(context.WithoutCancel(ctx))
		return err
	}
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
	client  *Client
	seen    *coordinationv1.Lease // the newest; nil: none
	since   time.Time             // when it was first seen so
	renewed time.Time             // when the last write that succeeded was sent; zero: none has
	lost    bool                  // it was this process's, and is not any more
}

// term lets work run until it returns by itself, ctx ends, or the Lease is lost
// or not renewed for too long; meanwhile it renews.
func (h *hold) term(ctx context.Context, work func(ctx context.Context) error) error {
	working, stop := context.WithCancel(ctx)
	defer stop()
	limit := time.AfterFunc(h.left(), stop)
	defer limit.Stop()
	done := make(chan error, 1)
	go func() { done <- work(working) }()
	tick := time.NewTicker(h.Retry)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			switch {
			case h.lost:
				return ErrLeaderNoMore
			case working.Err() != nil && ctx.Err() == nil:
				return errCutOff
			}
			return err
		case <-tick.C:
		}
		if h.take(context.WithoutCancel(ctx)) {
			limit.Reset(h.left())
		} else if h.lost {
			stop()
		}
	}
}

// left is for how long the process may work without another renewal.
func (h *hold) left() time.Duration { return time.Until(h.renewed.Add(h.Deadline)) }

// again waits until the Lease of a leader that was cut off is renewed, or is
// another's.
func (h *hold) again(ctx context.Context) error {
	for !h.take(ctx) {
		if h.lost {
			return ErrLeaderNoMore
		}
		if !pause(ctx, h.Retry/4) { // others who wait for the Lease look less often
			return ctx.Err()
		}
	}
	return nil
}

// take takes or renews the Lease, if nobody else holds it.
func (h *hold) take(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, h.Deadline)
	defer cancel()
	have, err := Get(ctx, h.client, Leases, h.Lease)
	write := Update[*coordinationv1.Lease]
	switch {
	case errors.Is(err, ErrNotFound):
		have, write = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: h.Lease.Namespace, Name: h.Lease.Name}}, Create
	case err != nil:
		h.Log.Debug("read the Lease", "error", err)
		return false
	default:
		h.see(have)
	}
	h.lost = !h.renewed.IsZero() && valueOf(have.Spec.HolderIdentity) != h.Identity
	if h.lost || h.other() != "" { // who was seen to hold it may do so until it ends, even if it has been removed
		return false
	}
	sent := time.Now()
	made, err := write(ctx, h.client, Leases, claimed(have, h.Identity, h.Duration))
	if err != nil {
		h.Log.Debug("write the Lease", "error", err)
		return false
	}
	h.see(made)
	h.renewed = sent
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

// patience is for how long another's Lease need not be looked at.
func (h *hold) patience() time.Duration {
	if h.other() == "" {
		return h.Retry
	}
	return max(0, min(h.Retry, time.Until(h.since.Add(h.Duration))))
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
