// Package lifecycle tests the sandbox from outside, as its users run it: that it
// comes up, survives what happens to programs, and leaves nothing. It needs root.
package lifecycle

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// program is the supervisor, built once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sandbox-test-")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "sandbox")
	if out, err := exec.Command("go", "build", "-C", "..", "-o", file, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return file, nil
})

func TestMain(m *testing.M) {
	status := m.Run()
	if file, err := program(); err == nil {
		os.RemoveAll(filepath.Dir(file))
	}
	os.Exit(status)
}

// box is one sandbox with the inventory of what it has made on the machine.
type box struct {
	*testing.T
	name, dir  string
	namespaces map[string]bool // every one that a member has been seen in
}

func newBox(t *testing.T, name string) *box {
	t.Helper()
	b := &box{T: t, name: name, dir: filepath.Join(t.TempDir(), "state"), namespaces: map[string]bool{}}
	t.Cleanup(func() { b.run("down") })
	return b
}

func (b *box) command(args ...string) *exec.Cmd {
	b.Helper()
	file, err := program()
	if err != nil {
		b.Fatal(err)
	}
	return exec.Command(file, append([]string{"-name", b.name, "-dir", b.dir}, args...)...)
}

// attempt runs a command and returns all it printed.
func (b *box) attempt(args ...string) (string, error) {
	b.Helper()
	out, err := b.command(args...).CombinedOutput()
	b.remember()
	return string(out), err
}

func (b *box) run(args ...string) string {
	b.Helper()
	out, err := b.attempt(args...)
	if err != nil {
		b.Fatalf("sandbox %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// works expects pods to run on the cluster.
func (b *box) works() {
	b.Helper()
	b.run("wait")
	pod := fmt.Sprintf("works-%d", time.Now().UnixNano())
	b.run("kubectl", "run", pod, "--image=registry.k8s.io/pause:3.10", "--restart=Never")
	b.run("kubectl", "wait", "--for=condition=Ready", "pod/"+pod, "--timeout=60s")
}

// members finds the process numbers of the members' process 1.
func (b *box) members() (pids []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		text, _ := os.ReadFile(f)
		if bytes.HasPrefix(text, []byte("sandbox-init\x00"+b.dir+"\x00")) {
			pids = append(pids, filepath.Base(filepath.Dir(f)))
		}
	}
	return pids
}

// remember notes the namespaces that the members live in.
func (b *box) remember() {
	own := map[string]bool{}
	for _, ns := range namespacesOf("self") {
		own[ns] = true
	}
	for _, pid := range b.members() {
		for _, ns := range namespacesOf(pid) {
			if !own[ns] {
				b.namespaces[ns] = true
			}
		}
	}
}

func namespacesOf(pid string) (list []string) {
	links, _ := filepath.Glob(filepath.Join("/proc", pid, "ns", "*"))
	for _, l := range links {
		if ns, err := os.Readlink(l); err == nil {
			list = append(list, ns)
		}
	}
	return list
}

// nothingLeft expects none of the sandbox's processes, mounts, links,
// namespaces, cgroups and files to be there. The dead wait for the machine's own
// init to take note of them, for which it gets some time.
func (b *box) nothingLeft() {
	b.Helper()
	var left []string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if left = b.left(); len(left) == 0 {
			clear(b.namespaces) // the kernel gives their numbers to others
			return
		}
	}
	b.Errorf("left:\n%s", strings.Join(left, "\n"))
}

func (b *box) left() (left []string) {
	files, _ := filepath.Glob("/proc/[0-9]*")
	for _, f := range files {
		command, _ := os.ReadFile(filepath.Join(f, "cmdline"))
		cgroup, _ := os.ReadFile(filepath.Join(f, "cgroup"))
		if bytes.Contains(command, []byte(b.dir)) || bytes.Contains(cgroup, []byte("/sbx-"+b.name+"/")) {
			left = append(left, fmt.Sprintf("process %s %q", f, bytes.ReplaceAll(command, []byte{0}, []byte{' '})))
		}
		if bytes.Contains(cgroup, []byte("/sbx-")) {
			continue // another sandbox's: it may have got the number of a namespace of ours
		}
		for _, ns := range namespacesOf(filepath.Base(f)) {
			if b.namespaces[ns] {
				left = append(left, fmt.Sprintf("namespace %s of %s %q", ns, f, command))
			}
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, b.dir) {
			left = append(left, "mount "+line)
		}
	}
	for _, pattern := range []string{"/sys/class/net/sbx-" + b.name, "/sys/fs/cgroup/sbx-" + b.name, "/sys/fs/cgroup/*/sbx-" + b.name, b.dir} {
		found, _ := filepath.Glob(pattern)
		left = append(left, found...)
	}
	routes, _ := exec.Command("ip", "route", "show", "table", "all").Output()
	for line := range strings.Lines(string(routes)) {
		if strings.Contains(line, "sbx-"+b.name) {
			left = append(left, "route "+line)
		}
	}
	return left
}
