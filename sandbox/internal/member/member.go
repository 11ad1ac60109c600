// Package member is process 1 of a sandbox's member: the external client, the
// control plane, or a node.
//
// A member is one process that starts in PID, mount, network, IPC and UTS
// namespaces of its own, enters a cgroup and cgroup namespace of its own, sets
// its file systems up, and then runs and restarts the member's programs. Ending
// it ends all of them, with their mounts, links, routes and eBPF pins, whatever
// state they are in: that is the whole of "down", and of a power cut.
package member

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/sandbox/internal/cgroup"
	"github.com/waggle-mesh/waggle/sandbox/internal/plan"
)

// Argv0 is what a member's process is called: "sandbox-init DIR MEMBER".
const Argv0 = "sandbox-init"

// stage2 holds the plan once the process is in its cgroup namespace.
const stage2 = "SANDBOX_INIT_PLAN"

// Main is process 1 of the named member of the sandbox. It returns only with an error.
func Main(name string) error {
	text, second := os.LookupEnv(stage2)
	if !second {
		return enterCgroup(name)
	}
	os.Unsetenv(stage2)
	p := &plan.Plan{}
	if err := json.Unmarshal([]byte(text), p); err != nil {
		return fmt.Errorf("read the plan: %w", err)
	}
	m, err := p.Member(name)
	if err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	if err := fileSystems(p, m); err != nil {
		return err
	}
	if err := sysctls(); err != nil {
		return err
	}
	if m.IsNode() { // before run, which takes every child's end for itself
		if err := prepareNode(p, m); err != nil {
			return err
		}
	}
	s := newSupervisor(p, name)
	go func() { // beside run, because starting waits for one program to serve another
		switch {
		case m.IsNode():
			startNode(p, m, s)
		case name == "cp":
			if err := startControlPlane(p, s); err != nil {
				s.fail(err)
			}
		}
	}()
	return s.run()
}

// enterCgroup waits for the plan, which comes through file descriptor 3 when the
// network is there, or never if "up" was killed. A cgroup namespace's root is the
// cgroup that the process is in when it makes it, and the whole process must be
// in the namespace: hence the exec.
func enterCgroup(name string) error {
	p := &plan.Plan{}
	if json.NewDecoder(os.NewFile(3, "plan")).Decode(p) != nil {
		os.Exit(0)
	}
	if err := cgroup.Join(p.Name, name); err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("make a cgroup namespace: %w", err)
	}
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return syscall.Exec("/proc/self/exe", os.Args, append(os.Environ(), stage2+"="+string(b)))
}

// sysctls makes the member a router, as the kernel of its network namespace sees it.
func sysctls() error {
	for file, value := range map[string]string{
		"ipv4/ip_forward":              "1",
		"ipv4/conf/all/send_redirects": "0",
		"ipv4/conf/all/rp_filter":      "0",
		"ipv6/conf/all/forwarding":     "1",
	} {
		err := os.WriteFile("/proc/sys/net/"+file, []byte(value), 0)
		if err != nil && !(os.IsNotExist(err) && file[:4] == "ipv6") { // a kernel without IPv6
			return fmt.Errorf("set sysctl: %w", err)
		}
	}
	return nil
}
