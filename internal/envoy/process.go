package envoy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	firstBackoff = 250 * time.Millisecond
	lastBackoff  = 30 * time.Second
	// maxLog is the size at which Envoy's log is emptied.
	maxLog = 16 << 20
)

// startPatience is how long Envoy may take until it answers on its admin
// socket; a test makes it shorter.
var startPatience = 20 * time.Second

// Options say which Envoy to run and how.
type Options struct {
	Binary   string // path of the stock Envoy, Version
	StateDir string // see PathsIn; locked by the caller, see Lock
	// Bootstrap is Envoy's bootstrap in JSON. It must have its admin
	// interface at Paths.AdminSocket. White space does not matter.
	Bootstrap []byte
	// LogLevel is trace, debug, info, warning, error, critical or off; empty
	// means warning.
	LogLevel string
	// Concurrency is the number of worker threads; 0 means one per CPU.
	Concurrency int
	// DrainTime is how long connections of a removed or replaced listener may
	// live on, in whole seconds; 0 means 30 s.
	DrainTime time.Duration
}

// Process is the Envoy of a state directory, whichever process it is at the
// moment.
type Process struct {
	opts  Options
	paths Paths
	args  []string
	log   *slog.Logger
	admin *Admin

	quit chan struct{} // closed by Stop: do not start again
	done chan struct{} // closed when nobody supervises any more
	once sync.Once     // of Stop

	stopErr error

	mu       sync.Mutex
	now      *instance // nil between two
	adopted  bool
	restarts int
}

// Start takes over the Envoy that lives in the state directory, if it runs the
// same binary with the same bootstrap and serves. It stops any other that
// lives there, starts one if none is left, and returns when Envoy answers on
// its admin socket; see Admin.Ready for more. Until ctx ends an Envoy that
// dies is started again. When ctx ends Envoy stays, see Stop; but if it ends
// before Start has returned, nothing is left.
func Start(ctx context.Context, opts Options, log *slog.Logger) (*Process, error) {
	p, err := newProcess(opts, log)
	if err != nil {
		return nil, err
	}
	p.now, err = p.adoptOrLaunch(ctx)
	if err != nil {
		if ctx.Err() != nil {
			err = errors.Join(err, p.removeFiles())
		}
		return nil, err
	}
	go p.supervise(ctx)
	return p, nil
}

func (p *Process) adoptOrLaunch(ctx context.Context) (*instance, error) {
	in, err := p.adopt(ctx)
	if in != nil || err != nil {
		return in, err
	}
	if err := checkVersion(ctx, p.opts.Binary); err != nil {
		return nil, err
	}
	return p.launchAndWait(ctx)
}

func newProcess(opts Options, log *slog.Logger) (*Process, error) {
	paths, err := PathsIn(opts.StateDir)
	if err != nil {
		return nil, err
	}
	if opts.Binary, err = checkBinary(opts.Binary); err != nil {
		return nil, err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, opts.Bootstrap); err != nil {
		return nil, fmt.Errorf("read bootstrap: %w", err)
	}
	opts.Bootstrap = compact.Bytes()
	if opts.LogLevel == "" {
		opts.LogLevel = "warning"
	}
	if opts.DrainTime == 0 {
		opts.DrainTime = 30 * time.Second
	}
	p := &Process{
		opts: opts, paths: paths, log: log, admin: NewAdmin(paths.AdminSocket),
		quit: make(chan struct{}), done: make(chan struct{}),
	}
	p.args = []string{
		"-c", p.bootstrapFile(),
		"--log-level", opts.LogLevel,
		"--disable-hot-restart",
		"--drain-time-s", strconv.Itoa(int(opts.DrainTime.Seconds())),
	}
	if opts.Concurrency > 0 {
		p.args = append(p.args, "--concurrency", strconv.Itoa(opts.Concurrency))
	}
	return p, nil
}

// bootstrapFile is named by content, so that Envoy's command line tells which
// bootstrap it runs.
func (p *Process) bootstrapFile() string {
	sum := sha256.Sum256(p.opts.Bootstrap)
	return filepath.Join(p.paths.Dir, fmt.Sprintf("bootstrap-%x.json", sum[:8]))
}

// Admin speaks to this Envoy.
func (p *Process) Admin() *Admin { return p.admin }

// PID is the process number of Envoy; 0 while there is none.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now == nil {
		return 0
	}
	return p.now.proc.Pid
}

// Adopted tells whether Envoy was found running.
func (p *Process) Adopted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.adopted
}

// Restarts counts how often Envoy was started again after it died.
func (p *Process) Restarts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.restarts
}

// adopt takes over a living Envoy; nil if there is none that will do.
func (p *Process) adopt(ctx context.Context) (*instance, error) {
	proc, err := survivor(p.paths)
	if proc == nil || err != nil {
		return nil, err
	}
	in, err := newInstance(proc, false)
	if err != nil {
		return nil, err
	}
	reason := p.unfit(ctx, proc.Pid)
	if reason == "" {
		if err := p.admin.SetLogLevel(ctx, p.opts.LogLevel); err != nil {
			p.log.Warn("set log level of Envoy", "error", err)
		}
		p.log.Info("took over running Envoy", "pid", proc.Pid)
		p.adopted = true
		return in, nil
	}
	p.log.Warn("replacing the Envoy that was left running", "pid", proc.Pid, "reason", reason)
	p.stopInstance(ctx, in)
	return nil, nil
}

// unfit tells why a living Envoy cannot be taken over; empty if it can.
func (p *Process) unfit(ctx context.Context, pid int) string {
	if !runs(pid, p.opts.Binary, p.args) {
		return "it runs another binary, bootstrap or settings"
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	info, err := p.admin.ServerInfo(ctx)
	for err != nil && ctx.Err() == nil { // it may have been started just now
		pause(ctx, 20*time.Millisecond)
		info, err = p.admin.ServerInfo(ctx)
	}
	switch {
	case err != nil:
		return "it does not answer: " + err.Error()
	case info.State == "DRAINING":
		return "it was being stopped"
	}
	return ""
}

// launch starts an Envoy that outlives this process.
func (p *Process) launch() (*instance, error) {
	lock, err := lockFile(p.paths.envoyLock)
	if err != nil {
		return nil, fmt.Errorf("start Envoy: %s: %w", p.paths.envoyLock, err)
	}
	defer lock.Close() // Envoy's copy stays
	if err := p.writeBootstrap(); err != nil {
		return nil, err
	}
	if err := os.Remove(p.paths.AdminSocket); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("remove old admin socket: %w", err)
	}
	out, err := os.OpenFile(p.paths.EnvoyLog, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open Envoy's log: %w", err)
	}
	defer out.Close()
	cmd := exec.Command(p.opts.Binary, p.args...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = out, out
	cmd.ExtraFiles = []*os.File{lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start Envoy: %w", err)
	}
	in, err := newInstance(cmd.Process, true)
	if err != nil {
		cmd.Process.Kill()
		cmd.Process.Wait()
		return nil, err
	}
	p.log.Info("started Envoy", "pid", cmd.Process.Pid, "log", p.paths.EnvoyLog)
	return in, nil
}

// writeBootstrap writes the bootstrap so that Envoy never sees half of it, and
// removes those of earlier Envoys.
func (p *Process) writeBootstrap() error {
	old, _ := filepath.Glob(p.paths.bootstrapPattern())
	for _, file := range old {
		if file != p.bootstrapFile() {
			os.Remove(file)
		}
	}
	fresh := p.bootstrapFile() + ".new"
	if err := os.WriteFile(fresh, p.opts.Bootstrap, 0o600); err != nil {
		return fmt.Errorf("write bootstrap: %w", err)
	}
	if err := os.Rename(fresh, p.bootstrapFile()); err != nil {
		return fmt.Errorf("write bootstrap: %w", err)
	}
	return nil
}

// launchAndWait starts Envoy and waits until it answers. An Envoy that ends
// before that is an error with the end of its log.
func (p *Process) launchAndWait(ctx context.Context) (*instance, error) {
	from := logSize(p.paths.EnvoyLog)
	in, err := p.launch()
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for {
		if _, err = p.admin.ServerInfo(wait); err == nil {
			return in, nil
		}
		select {
		case <-in.gone:
			in.release()
			return nil, fmt.Errorf("envoy ended at once; the end of %s:\n%s", p.paths.EnvoyLog, logTail(p.paths.EnvoyLog, from))
		case <-wait.Done():
			in.terminate(time.Second)
			in.release()
			if ctx.Err() != nil {
				return nil, fmt.Errorf("start Envoy: %w", ctx.Err())
			}
			return nil, fmt.Errorf("envoy does not answer after %s: %w", startPatience, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
