package envoy

import (
	"context"
	"time"
)

// supervise starts Envoy again whenever it dies, until ctx ends or Stop.
func (p *Process) supervise(ctx context.Context) {
	defer close(p.done)
	starting, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // a start that is under way ends with Stop
		select {
		case <-p.quit:
			cancel()
		case <-starting.Done():
		}
	}()
	housekeeping := time.NewTicker(time.Minute)
	defer housekeeping.Stop()
	backoff := firstBackoff
	for born := time.Now(); ; born = time.Now() {
		if !p.watch(ctx, housekeeping.C) {
			return
		}
		if time.Since(born) > lastBackoff {
			backoff = firstBackoff
		}
		p.log.Error("Envoy died", "restart", backoff, "log", logTail(p.paths.EnvoyLog, 0))
		for {
			if !p.sleep(ctx, backoff) {
				return
			}
			backoff = min(2*backoff, lastBackoff)
			// One that hangs is killed, and another tried.
			in, err := p.launchAndWait(starting)
			if err == nil {
				p.set(in)
				break
			}
			if starting.Err() != nil {
				return
			}
			p.log.Error("start Envoy again", "error", err, "retry", backoff)
		}
	}
}

// watch returns true when Envoy has died, and false when it is no longer to
// be supervised.
func (p *Process) watch(ctx context.Context, tick <-chan time.Time) bool {
	for {
		select {
		case <-p.now.gone:
			p.now.release()
			p.set(nil)
			return true
		case <-p.quit:
			return false
		case <-ctx.Done():
			p.now.release()
			return false
		case <-tick:
			trimLog(p.paths.EnvoyLog)
		}
	}
}

func (p *Process) sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-p.quit:
	case <-ctx.Done():
	}
	return false
}

// set makes in the living Envoy, nil if there is none.
func (p *Process) set(in *instance) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = in
	if in != nil {
		p.restarts++
		p.adopted = false
	}
}
