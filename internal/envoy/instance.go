package envoy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// instance is one living Envoy, started by this process or found.
type instance struct {
	proc  *os.Process
	child bool          // started by this process, which so must reap it
	gone  chan struct{} // closed when it has ended
	quit  chan struct{} // closed by release
	watch *os.File      // its pidfd; nil where there are none
}

// pidfdOpen is pidfd_open(2), since Linux 5.3; a test takes it away.
var pidfdOpen = unix.PidfdOpen

// newInstance watches proc.
func newInstance(proc *os.Process, child bool) (*instance, error) {
	in := &instance{proc: proc, child: child, gone: make(chan struct{}), quit: make(chan struct{})}
	fd, err := pidfdOpen(proc.Pid, unix.PIDFD_NONBLOCK)
	if err != nil { // old kernels and some sandboxes; or it has just ended
		go in.poll()
		return in, nil
	}
	in.watch = os.NewFile(uintptr(fd), "pidfd")
	conn, err := in.watch.SyscallConn()
	if err != nil {
		in.watch.Close()
		return nil, fmt.Errorf("watch Envoy, process %d: %w", proc.Pid, err)
	}
	go func() {
		// A pidfd becomes readable when its process ends. Read returns with
		// an error when release closes it.
		if conn.Read(func(fd uintptr) bool { return readable(int(fd)) }) != nil {
			return
		}
		if child {
			proc.Wait()
		}
		close(in.gone)
	}()
	return in, nil
}

func readable(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1
}

// poll looks every now and then whether the process lives.
func (in *instance) poll() {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-in.quit:
			return
		case <-tick.C:
		}
		if in.child {
			pid, err := syscall.Wait4(in.proc.Pid, nil, syscall.WNOHANG, nil)
			if pid == 0 || errors.Is(err, syscall.EINTR) {
				continue
			}
		} else if err := syscall.Kill(in.proc.Pid, 0); err == nil || errors.Is(err, syscall.EPERM) {
			continue
		}
		close(in.gone)
		return
	}
}

// release stops watching. A process that lives, lives on. It is called once.
func (in *instance) release() {
	close(in.quit)
	if in.watch != nil {
		in.watch.Close()
	}
}

// released tells whether release was called.
func (in *instance) released() bool {
	select {
	case <-in.quit:
		return true
	default:
		return false
	}
}

// ended tells whether the process has.
func (in *instance) ended() bool {
	select {
	case <-in.gone:
		return true
	default:
		return false
	}
}

// survivor finds the Envoy that holds a state directory's lock file; nil if
// there is none.
func survivor(paths Paths) (*os.Process, error) {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(paths.envoyLock); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		f, err := lockFile(paths.envoyLock)
		if err == nil {
			f.Close()
			return nil, nil
		}
		if !errors.Is(err, errLocked) {
			return nil, fmt.Errorf("look for a running Envoy: %w", err)
		}
		// It may not be seen yet: a killed waggle's child before exec.
		if proc := holderOf(paths); proc != nil {
			return proc, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("a process that this user cannot see holds %s, probably another user's Envoy; stop it or choose another --state-dir", paths.envoyLock)
		}
	}
}

// holderOf returns the Envoy that has the lock file open and was started for
// this state directory. Others may have it open too, to look at it.
func holderOf(paths Paths) *os.Process {
	lock, err := os.Stat(paths.envoyLock)
	if err != nil {
		return nil
	}
	holds := func(fd string) bool {
		// The name is asked first: it costs no access to a file system that
		// may hang.
		name, err := os.Readlink(fd)
		if err != nil || filepath.Base(name) != filepath.Base(paths.envoyLock) {
			return false
		}
		info, err := os.Stat(fd)
		return err == nil && os.SameFile(info, lock)
	}
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, fd := range fds {
		if !holds(fd) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(fd))))
		if err != nil || !slices.ContainsFunc(arguments(pid), func(arg string) bool {
			ours, _ := filepath.Match(paths.bootstrapPattern(), arg)
			return ours
		}) {
			continue
		}
		// The number may have passed to another process before FindProcess.
		if proc, err := os.FindProcess(pid); err == nil && holds(fd) {
			return proc
		}
	}
	return nil
}

// arguments returns the command line of a process; nil if it is gone.
func arguments(pid int) []string {
	line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil || len(line) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
}

// runs tells whether pid is binary with these arguments, apart from the log
// level, which can be changed while it runs.
func runs(pid int, binary string, args []string) bool {
	theirs, err := os.Stat("/proc/" + strconv.Itoa(pid) + "/exe")
	if err != nil {
		return false
	}
	ours, err := os.Stat(binary)
	if err != nil || !os.SameFile(ours, theirs) {
		return false
	}
	running := arguments(pid)
	return len(running) > 0 && slices.Equal(withoutLogLevel(running[1:]), withoutLogLevel(args))
}

func withoutLogLevel(args []string) []string {
	args = slices.Clone(args)
	if i := slices.Index(args, "--log-level"); i >= 0 && i+1 < len(args) {
		args = slices.Delete(args, i, i+2)
	}
	return args
}

// terminate ends the process: SIGTERM, and SIGKILL after patience.
func (in *instance) terminate(patience time.Duration) {
	if in.ended() {
		return
	}
	in.proc.Signal(syscall.SIGTERM)
	select {
	case <-in.gone:
		return
	case <-time.After(patience):
	}
	in.proc.Signal(syscall.SIGKILL)
	<-in.gone
}
