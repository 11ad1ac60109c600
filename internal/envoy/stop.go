package envoy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// drainPatience bounds how long Stop waits for requests under way.
	drainPatience = 30 * time.Second
	// askPatience is how long Envoy has to answer the command to drain.
	askPatience = 2 * time.Second
	// idlePatience is how long connections without a request are waited for,
	// so that their clients see them close between requests.
	idlePatience = time.Second
	// exitPatience is how long Envoy has to end after SIGTERM, and
	// hungPatience if it did not even answer.
	exitPatience = 5 * time.Second
	hungPatience = time.Second
)

// Stop ends Envoy and removes its files. New connections are refused at once;
// requests under way have until ctx ends, at most 30 s. Start's ctx may have
// ended before. A second call does nothing more and returns the same.
func (p *Process) Stop(ctx context.Context) error {
	p.once.Do(func() { p.stopErr = p.stop(ctx) })
	return p.stopErr
}

func (p *Process) stop(ctx context.Context) error {
	close(p.quit)
	<-p.done
	in := p.now
	if in != nil && !in.ended() && in.released() {
		// Start's ctx has ended and with it the watch; find it again.
		var err error
		if in, err = p.find(in); err != nil {
			return fmt.Errorf("stop Envoy: %w", err)
		}
	}
	if in != nil && !in.ended() {
		p.stopInstance(ctx, in)
	}
	return p.removeFiles()
}

// find watches the living Envoy again, which was last; nil if there is none.
func (p *Process) find(last *instance) (*instance, error) {
	proc, err := survivor(p.paths)
	if proc == nil || err != nil {
		return nil, err
	}
	return newInstance(proc, last.child && last.proc.Pid == proc.Pid)
}

// stopInstance ends one Envoy as gently as ctx allows.
func (p *Process) stopInstance(ctx context.Context, in *instance) {
	patience := exitPatience
	if err := p.drain(ctx); err == nil {
		p.awaitIdle(ctx, in)
	} else if ctx.Err() == nil {
		p.log.Warn("drain Envoy", "error", err)
		patience = hungPatience
	}
	in.terminate(patience)
	in.release()
}

func (p *Process) drain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	return p.admin.Drain(ctx)
}

// awaitIdle returns when Envoy has no connection any more, or none with a
// request for idlePatience, or after drainPatience, or when ctx ends.
func (p *Process) awaitIdle(ctx context.Context, in *instance) {
	ctx, cancel := context.WithTimeout(ctx, drainPatience)
	defer cancel()
	var idleSince time.Time
	for ctx.Err() == nil && !in.ended() {
		connections, requests, err := p.active(ctx)
		if err != nil {
			if ctx.Err() == nil && !in.ended() {
				p.log.Warn("count Envoy's connections", "error", err)
			}
			return
		}
		switch {
		case connections == 0:
			return
		case requests > 0:
			idleSince = time.Time{}
		case idleSince.IsZero():
			idleSince = time.Now()
		case time.Since(idleSince) > idlePatience:
			return
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// active counts Envoy's downstream connections and requests, its admin
// interface apart.
func (p *Process) active(ctx context.Context) (connections, requests uint64, err error) {
	stats, err := p.admin.Stats(ctx, `^http\..*\.downstream_(cx|rq)_active$`)
	if err != nil {
		return 0, 0, err
	}
	for name, n := range stats {
		switch {
		case strings.HasPrefix(name, "http.admin."):
		case strings.HasSuffix(name, "cx_active"):
			connections += n
		default:
			requests += n
		}
	}
	return connections, requests, nil
}

// removeFiles removes all that an Envoy that has ended leaves.
func (p *Process) removeFiles() error {
	lock, err := lockFile(p.paths.envoyLock)
	if err != nil {
		return fmt.Errorf("remove Envoy's files: %s: %w", p.paths.envoyLock, err)
	}
	defer lock.Close()
	files, _ := filepath.Glob(p.paths.bootstrapPattern() + "*")
	files = append(files, p.paths.AdminSocket, p.paths.EnvoyLog, p.paths.envoyLock)
	var errs []error
	for _, file := range files {
		if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
