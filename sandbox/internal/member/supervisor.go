package member

import (
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/waggle-mesh/waggle/sandbox/internal/plan"
)

// restartDelay is the time from a program's end to its next start.
const restartDelay = time.Second

// States of a program, the first word of its state file; the second is how
// many times it has ended, the third the last reason.
const (
	Running = "running"
	Stopped = "stopped" // by plan.Stopped
	Ended   = "ended"   // waits to be started again
	Failed  = "failed"  // cannot be started at all
)

type program struct {
	name string
	argv []string
	pid  int // 0: does not run
	ends int // times it has ended
	last string
}

// supervisor keeps a member's programs running: one that ends is started again,
// unless a file asks for it to be stopped. SIGHUP makes it look at these files.
type supervisor struct {
	plan   *plan.Plan
	member string

	mu       sync.Mutex
	programs []*program
}

func newSupervisor(p *plan.Plan, member string) *supervisor {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stdout, nil)))
	return &supervisor{plan: p, member: member}
}

// start adds a program and starts it.
func (s *supervisor) start(name string, argv ...string) {
	for _, f := range s.plan.Flags {
		if f, ok := strings.CutPrefix(f, name+"="); ok {
			argv = append(argv, f)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &program{name: name, argv: argv}
	s.programs = append(s.programs, p)
	s.settle(p)
}

// settle starts or stops a program as the files ask; s.mu is held.
func (s *supervisor) settle(p *program) {
	_, err := os.Stat(s.plan.Stopped(s.member, p.name))
	stop := err == nil
	switch {
	case stop && p.pid != 0:
		_ = syscall.Kill(p.pid, syscall.SIGKILL) // reap says that it is stopped
	case stop:
		s.report(p, Stopped)
	case p.pid == 0:
		pid, err := s.exec(p)
		if err != nil {
			p.last = err.Error()
			s.report(p, Failed)
			slog.Error("cannot start", "program", p.name, "err", err)
			return
		}
		p.pid = pid
		s.report(p, Running)
	}
}

func (s *supervisor) exec(p *program) (int, error) {
	log, err := os.OpenFile(s.plan.Log(s.member, p.name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	return syscall.ForkExec(find(p.argv[0]), p.argv, &syscall.ProcAttr{
		Dir: "/", Env: os.Environ(),
		Files: []uintptr{null.Fd(), log.Fd(), log.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
}

// find looks a program up in PATH. (exec.LookPath would refuse what this
// process, which has no CAP_DAC_OVERRIDE in some containers, cannot read.)
func find(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	for _, d := range filepath.SplitList(os.Getenv("PATH")) {
		p := filepath.Join(d, name)
		if st, err := os.Stat(p); err == nil && !st.IsDir() {
			return p
		}
	}
	return name
}

// report writes the program's state file.
func (s *supervisor) report(p *program, state string) {
	file := s.plan.State(s.member, p.name)
	text := fmt.Sprintf("%s %d %s", state, p.ends, p.last)
	tmp := filepath.Join(filepath.Dir(file), "."+p.name)
	if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
		slog.Error("write state", "err", err)
		return
	}
	_ = os.Rename(tmp, file)
}

// fail records that the member itself could not be set up.
func (s *supervisor) fail(err error) {
	slog.Error("cannot start the member", "err", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report(&program{name: "init", last: err.Error()}, Failed)
}

// run waits for children, its own and orphans, for ever.
func (s *supervisor) run() error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGCHLD, syscall.SIGHUP)
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
		if pid > 0 && err == nil {
			s.reaped(pid, ws)
			continue
		}
		if <-signals == syscall.SIGHUP {
			s.mu.Lock()
			for _, p := range s.programs {
				s.settle(p)
			}
			s.mu.Unlock()
		}
	}
}

func (s *supervisor) reaped(pid int, ws syscall.WaitStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.programs {
		if p.pid != pid {
			continue
		}
		p.pid = 0
		if _, err := os.Stat(s.plan.Stopped(s.member, p.name)); err == nil {
			slog.Info("stopped", "program", p.name)
			s.report(p, Stopped)
			return
		}
		p.ends++
		p.last = "exit status " + strconv.Itoa(ws.ExitStatus())
		if ws.Signaled() {
			p.last = "signal: " + ws.Signal().String()
		}
		slog.Warn("ended", "program", p.name, "why", p.last)
		s.report(p, Ended)
		time.AfterFunc(restartDelay, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.settle(p)
		})
	}
}
