// Package cluster brings a sandbox up, down, and to every state between.
//
// What runs is found in /proc alone, by the command line of every member's
// process 1: no state that could be lost or stale. So every operation works on
// whatever a power cut, a kill -9 or a full disk has left, and Down always ends
// with nothing left but the cache.
package cluster

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/sandbox/internal/cgroup"
	"github.com/waggle-mesh/waggle/sandbox/internal/member"
	"github.com/waggle-mesh/waggle/sandbox/internal/plan"
	"github.com/waggle-mesh/waggle/sandbox/internal/wire"
)

// Running maps the members that run in the sandbox of dir to the process
// numbers of their process 1.
func Running(dir string) map[string]int {
	pids := map[string]int{}
	for pid, argv := range members() {
		if argv[1] == dir {
			pids[argv[2]] = pid
		}
	}
	return pids
}

// UsersOf lists the folders of sandboxes that run from a cache.
func UsersOf(cache string) (dirs []string) {
	for _, argv := range members() {
		p, err := plan.Load(argv[1])
		if err == nil && p.Cache == cache && !slices.Contains(dirs, argv[1]) {
			dirs = append(dirs, argv[1])
		}
	}
	return dirs
}

// CheckName refuses the name of a sandbox that runs from another folder than
// dir: their links and cgroups would be the same.
func CheckName(name, dir string) error {
	for _, argv := range members() {
		if p, err := plan.Load(argv[1]); err == nil && p.Name == name && argv[1] != dir {
			return fmt.Errorf("-name %s: a sandbox of this name runs from %s; choose another name, or give -dir %[2]s if you mean that one", name, argv[1])
		}
	}
	return nil
}

// members finds the process 1 of every member of every sandbox of this machine.
func members() map[int][]string {
	found := map[int][]string{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		if argv := commandLine(d); len(argv) >= 3 && argv[0] == member.Argv0 {
			pid, _ := strconv.Atoi(filepath.Base(d))
			found[pid] = argv
		}
	}
	return found
}

// commandLine reads a process's arguments. A process that is just executing a
// program has none for a moment, and a member that was overlooked then would
// survive "down": so it is asked again as long as it has a program at all, or a
// thread that outlives its first, which kernel threads and the dead have not.
func commandLine(dir string) []string {
	for {
		b, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil {
			return nil
		}
		if len(b) > 0 {
			return strings.Split(string(b), "\x00")
		}
		_, err = os.Readlink(filepath.Join(dir, "exe"))
		threads, _ := os.ReadDir(filepath.Join(dir, "task"))
		if err != nil && len(threads) < 2 {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
}

// embryo is a member's process 1 that waits for its network.
type embryo struct {
	pid  int
	plan *os.File
}

// spawn starts a member's process 1 in new namespaces.
func spawn(p *plan.Plan, name string) (*embryo, error) {
	states := filepath.Dir(p.State(name, "init"))
	if err := os.RemoveAll(states); err != nil { // of before a power cut
		return nil, err
	}
	for _, d := range []string{filepath.Dir(p.Log(name, "init")), states} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	log, err := os.OpenFile(p.Log(name, "init"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{member.Argv0, p.Dir, name}, Dir: "/", Env: p.Environ(),
		Stdout: log, Stderr: log, ExtraFiles: []*os.File{r},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS},
	}
	if err := cmd.Start(); err != nil {
		w.Close()
		return nil, fmt.Errorf("start member %s in namespaces of its own: %w", name, err)
	}
	go cmd.Wait()
	return &embryo{cmd.Process.Pid, w}, nil
}

// run lets the member go on.
func (e *embryo) run(p *plan.Plan) error {
	defer e.plan.Close()
	return json.NewEncoder(e.plan).Encode(p)
}

// Power starts members that are off; the first time ext must be among them, first.
func Power(p *plan.Plan, members ...plan.Member) error {
	pids := Running(p.Dir)
	var embryos []*embryo
	for _, m := range members {
		if pids[m.Name] != 0 {
			return fmt.Errorf("%s is running", m.Name)
		}
		if err := cgroup.Remove(p.Name, m.Name); err != nil { // its pods' of before a power cut
			return err
		}
		e, err := spawn(p, m.Name)
		if err != nil {
			return err
		}
		pids[m.Name] = e.pid
		embryos = append(embryos, e)
		if err := wire.Connect(p, m, e.pid, pids["ext"]); err != nil {
			return fmt.Errorf("connect %s: %w", m.Name, err)
		}
	}
	for i, e := range embryos {
		if err := e.run(p); err != nil {
			return fmt.Errorf("start %s: %w", members[i].Name, err)
		}
	}
	return nil
}

// Kill ends members as a power cut would and waits until they are gone. Without
// names it ends all.
func Kill(dir string, names ...string) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		left := 0
		for m, pid := range Running(dir) {
			if len(names) == 0 || slices.Contains(names, m) {
				_ = unix.Kill(pid, unix.SIGKILL)
				left++
			}
		}
		if left == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("still running after kill -9: %v", Running(dir))
		}
		time.Sleep(20 * time.Millisecond)
	}
}
