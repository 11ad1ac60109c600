package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/waggle-mesh/waggle/internal/ask"
	"github.com/waggle-mesh/waggle/internal/envoy"
	"github.com/waggle-mesh/waggle/internal/xds"
)

// peerKey is under which a request's context has who asks.
type peerKey struct{}

// answerStops tells Envoys, or what runs in their cgroups, when they may end.
func (p *Proxy) answerStops(ctx context.Context, lis net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /drained", func(w http.ResponseWriter, r *http.Request) {
		if err := p.waitDrained(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		ask.JSON(w, "drained")
	})
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			peer, err := xds.PeerOf(c)
			if err != nil {
				p.log.Warn("find out which Envoy wants to end", "error", err)
				return ctx
			}
			return context.WithValue(ctx, peerKey{}, peer.Cgroup)
		},
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(lis); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", lis.Addr(), err)
	}
	return nil
}

// waitDrained waits for the Envoy in the cgroup of who asks.
func (p *Proxy) waitDrained(ctx context.Context) error {
	cgroup, _ := ctx.Value(peerKey{}).(string)
	for _, e := range p.generations.Envoys() {
		p.mu.Lock()
		its := p.cgroups[e.Base]
		p.mu.Unlock()
		if its == cgroup {
			return p.generations.WaitDrained(ctx, e.PID)
		}
	}
	return fmt.Errorf("no Envoy that is served is in cgroup %q", cgroup)
}

// stopPause is between two tries to reach an agent.
const stopPause = 200 * time.Millisecond

// AwaitDrained asks the agent behind a folder of sockets to replace or drain
// the Envoy in whose cgroup the caller is, and waits until it may end. While
// there is no agent, or it does not know the Envoy yet, it tries again.
func AwaitDrained(ctx context.Context, dir string) error {
	for {
		var word string
		err := ask.Get(ctx, stopSocket(dir), "/drained", &word)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until Envoy may end: %w", err)
		case <-time.After(stopPause):
		}
	}
}

// Replacement is how an Envoy gave way to another.
type Replacement struct {
	Old     int           `json:"old"` // process
	New     int           `json:"new"`
	Arrived time.Duration `json:"arrived"` // after the question, until the new one had come
	Active  time.Duration `json:"active"`  // until it got new connections
	Drained time.Duration `json:"drained"` // until the old one might end
}

// AwaitReplaced waits until another Envoy has taken the place of the active
// one, and that may end. One that is being replaced already is meant.
func (p *Proxy) AwaitReplaced(ctx context.Context) (r Replacement, err error) {
	begun := time.Now()
	old, ok := oldest(p.generations.Envoys())
	if !ok {
		return r, errors.New("this node has no Envoy that could be replaced")
	}
	r.Old = old.PID
	for r.Active == 0 {
		for _, e := range p.generations.Envoys() {
			if e.PID == old.PID {
				continue
			}
			if r.New != e.PID {
				r.New, r.Arrived = e.PID, time.Since(begun)
			}
			if e.Active {
				r.Active = time.Since(begun)
			}
		}
		select {
		case <-ctx.Done():
			if r.New == 0 {
				return r, fmt.Errorf("no other Envoy has come to take the place of process %d", r.Old)
			}
			return r, fmt.Errorf("the new Envoy, process %d, lacks listeners that the old one has", r.New)
		case <-time.After(10 * time.Millisecond):
		}
	}
	err = p.generations.WaitDrained(ctx, old.PID)
	r.Drained = time.Since(begun)
	return r, err
}

// End tells an Envoy that may end to do so.
func (p *Proxy) End(pid int) error { return p.generations.End(pid) }

// oldest is the Envoy that came first.
func oldest(all []envoy.Standing) (first envoy.Standing, ok bool) {
	for _, e := range all {
		if !ok || e.Arrived.Before(first.Arrived) {
			first, ok = e, true
		}
	}
	return first, ok
}
