// Package measure has what the benchmarks need: child processes with what
// they cost in CPU and memory, figures with their spread, and the page that
// results are written to.
//
// CPU is time on a CPU as the kernel's scheduler counts it
// (/proc/PID/task/*/schedstat), so what other processes do changes it little.
package measure

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is a running child.
type Process struct {
	// Began is when it was started.
	Began time.Time

	name string
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{} // closed when it has ended
}

// Start runs a command. What it writes goes to NAME.log in dir.
func Start(dir, name string, argv ...string) (*Process, error) {
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	p := &Process{name: name, cmd: exec.Command(argv[0], argv[1:]...), log: log, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// A session each: the scheduler shares out a busy machine by session, and
	// the Envoy that waggle starts has one of its own.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	p.Began = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// PID is the child's.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log is what the child has written so far.
func (p *Process) Log() string {
	text, _ := os.ReadFile(p.log.Name())
	return string(text)
}

// Stop ends the child as Ctrl-C would, by force if it takes too long.
func (p *Process) Stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		syscall.Kill(-p.PID(), syscall.SIGKILL)
		<-p.done
	}
	p.log.Close()
}

// Until asks f every so often until it gives no error. It gives up when ctx
// ends or the child does.
func (p *Process) Until(ctx context.Context, every time.Duration, what string, f func() error) error {
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended before %s:\n%s", p.name, what, p.Log())
		case <-ctx.Done():
			return fmt.Errorf("%s: %w, last: %w", what, ctx.Err(), err)
		case <-time.After(every):
		}
	}
}

// Often is how often to ask for what costs little.
const Often = 5 * time.Millisecond

// Listens waits until the child answers at a TCP address.
func (p *Process) Listens(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return p.Until(ctx, Often, "listening on "+address, func() error {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		return c.Close()
	})
}

// Family is the child and the processes that it has started itself.
func (p *Process) Family() []int {
	pids := []int{p.PID()}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.PID())) // one per thread
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for field := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// CPU is the time that the threads of processes have been on a CPU. Threads
// that have ended are missing.
func CPU(pids ...int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil || len(tasks) == 0 {
			return 0, fmt.Errorf("read CPU of process %d: it is gone", pid)
		}
		for _, task := range tasks {
			text, err := os.ReadFile(task)
			if err != nil {
				continue // the thread has ended
			}
			first, _, _ := strings.Cut(string(text), " ")
			nanoseconds, err := strconv.ParseInt(first, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read %s: %w", task, err)
			}
			sum += time.Duration(nanoseconds)
		}
	}
	return sum, nil
}

// Memory is what a process holds, in bytes.
type Memory struct {
	Resident int64 // RSS
	Own      int64 // anonymous: heap and stacks, without pages of files
	Peak     int64 // the highest RSS so far
}

// MemoryOf reads the memory of a process.
func MemoryOf(pid int) (Memory, error) {
	var m Memory
	for file, fields := range map[string]map[string]*int64{
		"smaps_rollup": {"Rss:": &m.Resident, "Anonymous:": &m.Own},
		"status":       {"VmHWM:": &m.Peak},
	} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if err != nil {
			return m, fmt.Errorf("read memory: %w", err)
		}
		for line := range strings.Lines(string(text)) {
			words := strings.Fields(line)
			if len(words) < 2 || fields[words[0]] == nil {
				continue
			}
			kilobytes, err := strconv.ParseInt(words[1], 10, 64)
			if err != nil {
				return m, fmt.Errorf("read memory: %w", err)
			}
			*fields[words[0]] = kilobytes << 10
		}
	}
	return m, nil
}

// Write makes or replaces a file below dir in one step, as an editor does.
func Write(dir, name string, text []byte) error {
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".part", text, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}

// FreePort is a TCP port of 127.0.0.1 that nobody listens on.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// Installed says how to install the tools that are missing, each given as
// the program and its Debian package.
func Installed(tools map[string]string) error {
	var missing []string
	for program, pkg := range tools {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, pkg)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return errors.New("missing; install with: apt-get install --no-install-recommends " + strings.Join(missing, " "))
}
