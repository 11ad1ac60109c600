package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/sandbox/internal/cgroup"
	"github.com/waggle-mesh/waggle/sandbox/internal/plan"
)

// Exec runs a command in a member's namespaces and cgroups and returns its exit
// status. When ctx ends the command is told so by SIGTERM, and killed if it has
// not ended 10 s later. This process stays in the namespaces: it must have
// nothing left to do.
func Exec(ctx context.Context, p *plan.Plan, memberName string, argv []string) (int, error) {
	pid, ok := Running(p.Dir)[memberName]
	if !ok {
		if _, err := p.Member(memberName); err != nil {
			return 0, err
		}
		return 0, fmt.Errorf("%s is not running", memberName)
	}
	if err := cgroup.JoinRunning(p.Name, memberName); err != nil {
		return 0, err
	}
	runtime.LockOSThread() // never unlocked: the thread ends with the process
	if err := enter(pid); err != nil {
		return 0, fmt.Errorf("enter %s: %w", memberName, err)
	}
	for _, e := range p.Environ() {
		k, v, _ := strings.Cut(e, "=")
		if err := os.Setenv(k, v); err != nil {
			return 0, err
		}
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	if cmd.ProcessState != nil {
		return cmd.ProcessState.ExitCode(), nil
	}
	return 0, err
}

// ExecCommand is a command that runs another in a member, by this program's own
// "exec": Exec itself can be used once in a process's life.
func ExecCommand(ctx context.Context, memberName, dir string, argv ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "/proc/self/exe", append([]string{"-dir", dir, "exec", memberName}, argv...)...)
}

// enter moves this thread into the namespaces of a process; children follow.
func enter(pid int) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil { // else the kernel refuses another mount namespace
		return err
	}
	var fds []int
	for _, n := range []string{"cgroup", "ipc", "uts", "net", "pid", "mnt"} {
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, n), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		fds = append(fds, fd)
	}
	for _, fd := range fds {
		if err := unix.Setns(fd, 0); err != nil {
			return err
		}
	}
	return nil
}
