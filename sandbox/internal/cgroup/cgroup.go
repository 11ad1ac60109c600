// Package cgroup gives every member of a sandbox a cgroup of its own in each
// hierarchy, and mounts these hierarchies anew for a node.
//
// Two layouts exist. A v2 machine has one hierarchy at /sys/fs/cgroup. A v1
// machine has one mount per controller below it and cgroup2 at "unified", where
// eBPF programs are attached. A node sees, as its root, the member's cgroup.
//
// https://docs.kernel.org/admin-guide/cgroup-v2.html
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const base = "/sys/fs/cgroup"

// leaf holds the processes of a v2 member itself: a cgroup that hands
// controllers to children (the pods) may not hold processes.
const leaf = "init"

// Hierarchy is one mounted cgroup tree.
type Hierarchy struct {
	Path string // where it is mounted
	Data string // options to mount it again; empty for v2
}

// V2 tells the unified hierarchy from a v1 controller's.
func (h Hierarchy) V2() bool { return h.Data == "" }

// alone tells whether the machine has this hierarchy and no other.
func (h Hierarchy) alone() bool { return h.Path == base }

// Hierarchies finds what the machine has mounted below /sys/fs/cgroup.
func Hierarchies() ([]Hierarchy, error) {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	hs := hierarchies(string(b))
	if !slices.ContainsFunc(hs, Hierarchy.V2) {
		return nil, errors.New("no cgroup2 is mounted at /sys/fs/cgroup or /sys/fs/cgroup/unified")
	}
	return hs, nil
}

func hierarchies(mounts string) (hs []Hierarchy) {
	for line := range strings.Lines(mounts) {
		f := strings.Fields(line)
		if len(f) < 4 || f[1] != base && filepath.Dir(f[1]) != base {
			continue
		}
		switch f[2] {
		case "cgroup2":
			hs = append(hs, Hierarchy{Path: f[1]})
		case "cgroup":
			hs = append(hs, Hierarchy{Path: f[1], Data: v1Options(f[3])})
		}
	}
	return hs
}

// v1Options keeps of a v1 mount's options what says which hierarchy it is.
func v1Options(options string) string {
	var keep []string
	for o := range strings.SplitSeq(options, ",") {
		switch {
		case strings.HasPrefix(o, "name="):
			return "none," + o
		case slices.Contains([]string{"rw", "ro", "nosuid", "nodev", "noexec", "relatime", "noatime", "xattr", "clone_children", "noprefix", "cpuset_v2_mode"}, o),
			strings.HasPrefix(o, "release_agent="):
		default:
			keep = append(keep, o)
		}
	}
	return strings.Join(keep, ",")
}

func name(sandbox string) string { return "sbx-" + sandbox }

// Join moves this process into the member's cgroup of every hierarchy, which
// it makes. It serves a member's process 1 before its cgroup namespace is made.
func Join(sandbox, member string) error { return join(sandbox, member, "") }

// JoinRunning moves this process beside the processes of a running member.
func JoinRunning(sandbox, member string) error { return join(sandbox, member, leaf) }

func join(sandbox, member, v2leaf string) error {
	hs, err := Hierarchies()
	if err != nil {
		return err
	}
	for _, h := range hs {
		dir := h.Path
		path := []string{name(sandbox), member}
		if h.alone() {
			delegate(dir)
			if v2leaf != "" {
				path = append(path, v2leaf)
			}
		}
		for i, e := range path {
			parent := dir
			dir = filepath.Join(dir, e)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			if h.alone() && i == 0 {
				delegate(dir)
			}
			if h.V2() {
				continue // inherits
			}
			if err := copyCPUSet(parent, dir); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
			return fmt.Errorf("join cgroup %s: %w", dir, err)
		}
	}
	return nil
}

// copyCPUSet gives a v1 cpuset the parent's processors, without which nothing
// may run in it. Other hierarchies have no such files.
func copyCPUSet(parent, dir string) error {
	for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
		b, err := os.ReadFile(filepath.Join(parent, f))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, f), b, 0); err != nil {
			return err
		}
	}
	return nil
}

// delegate hands every controller of a v2 cgroup to its children. What the
// kernel refuses here the kubelet will name, if it needs it.
func delegate(dir string) {
	b, _ := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	for _, c := range strings.Fields(string(b)) {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0)
	}
}

// Mount mounts the hierarchies anew at /sys/fs/cgroup for a process that is in
// a cgroup namespace of its own, over a fresh sysfs.
func Mount(hs []Hierarchy) error {
	if hs[0].alone() {
		if err := unix.Mount("cgroup2", base, "cgroup2", 0, ""); err != nil {
			return fmt.Errorf("mount cgroup2 on %s: %w", base, err)
		}
		dir := filepath.Join(base, leaf)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
			return fmt.Errorf("join cgroup %s: %w", dir, err)
		}
		delegate(base)
		return nil
	}
	if err := unix.Mount("cgroup", base, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount tmpfs on %s: %w", base, err)
	}
	for _, h := range hs {
		typ := "cgroup"
		if h.V2() {
			typ = "cgroup2"
		}
		if err := os.Mkdir(h.Path, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(typ, h.Path, typ, 0, h.Data); err != nil {
			return fmt.Errorf("mount %s %s on %s: %w", typ, h.Data, h.Path, err)
		}
		if cs := strings.Split(h.Data, ","); len(cs) > 1 && cs[0] != "none" { // cpu,cpuacct is also known as cpu
			for _, c := range cs {
				_ = os.Symlink(filepath.Base(h.Path), filepath.Join(base, c))
			}
		}
	}
	return nil
}

// Remove removes the cgroups of a sandbox, or of one member of it, whose
// processes have been killed: the kernel may need a moment for the last one.
func Remove(sandbox, member string) error {
	hs, err := Hierarchies()
	if err != nil {
		return err
	}
	for _, h := range hs {
		root := filepath.Join(h.Path, name(sandbox), member)
		deadline := time.Now().Add(5 * time.Second)
		for {
			err := removeTree(root)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("remove cgroup: %w", err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

func removeTree(root string) error {
	var dirs []string
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && e.IsDir() {
			dirs = append(dirs, p)
		}
		return err
	})
	for _, d := range slices.Backward(dirs) {
		if e := os.Remove(d); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = e
		}
	}
	return err
}

// Processes lists the process numbers of a member's own cgroup and, apart,
// those of the cgroups below it, which are its pods'.
func Processes(sandbox, member string) (own, pods []string, err error) {
	hs, err := Hierarchies()
	if err != nil {
		return nil, nil, err
	}
	for _, h := range hs {
		if !h.V2() {
			continue
		}
		root := filepath.Join(h.Path, name(sandbox), member)
		_ = filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
			if err != nil || !e.IsDir() {
				return nil
			}
			b, _ := os.ReadFile(filepath.Join(p, "cgroup.procs"))
			if p == root || p == filepath.Join(root, leaf) {
				own = append(own, strings.Fields(string(b))...)
			} else {
				pods = append(pods, strings.Fields(string(b))...)
			}
			return nil
		})
	}
	return own, pods, nil
}
