package member

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/sandbox/internal/cgroup"
	"github.com/waggle-mesh/waggle/sandbox/internal/plan"
)

func mount(src, dst, typ string, flags uintptr, data string) error {
	if err := unix.Mount(src, dst, typ, flags, data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", src, dst, err)
	}
	return nil
}

// fileSystems gives a member its own view of the machine's files.
func fileSystems(p *plan.Plan, m plan.Member) error {
	if err := mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := dropMounts(); err != nil {
		return err
	}
	if m.IsNode() {
		return nodeFileSystems(p.Path("nodes", m.Name))
	}
	if err := mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	return mount("sysfs", "/sys", "sysfs", 0, "")
}

// dropMounts forgets mounts that others made and expect to end when they unmount
// them: a copy in a member would keep their file systems alive.
func dropMounts() error {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) > 2 && f[1] != "/" && slices.Contains([]string{"nsfs", "bpf", "overlay", "fuse"}, f[2]) {
			_ = unix.Unmount(f[1], unix.MNT_DETACH)
		}
	}
	return nil
}

// nodeFileSystems gives a node its own /etc, /opt, /var, /run, /proc, /sys and
// cgroups; dir holds what outlives a power cut.
func nodeFileSystems(dir string) error {
	if err := overlays(dir); err != nil {
		return err
	}
	hs, err := cgroup.Hierarchies()
	if err != nil {
		return err
	}
	for _, f := range []struct{ src, dst, typ, data string }{
		{"run", "/run", "tmpfs", "mode=755"},
		{"proc", "/proc", "proc", ""},
		{"sysfs", "/sys", "sysfs", ""},
	} {
		if err := mount(f.src, f.dst, f.typ, 0, f.data); err != nil {
			return err
		}
	}
	if err := cgroup.Mount(hs); err != nil {
		return err
	}
	if err := mount("bpf", "/sys/fs/bpf", "bpf", 0, "mode=700"); err != nil {
		return err
	}
	return mount("none", "/", "", unix.MS_REC|unix.MS_SHARED, "") // for Bidirectional mounts of pods
}

// overlays lets a node write where the machine's files lie, unseen by the machine.
func overlays(dir string) error {
	for _, o := range []string{"etc", "opt", "var"} {
		upper, work := filepath.Join(dir, o, "upper"), filepath.Join(dir, o, "work")
		for _, d := range []string{upper, work} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				return err
			}
		}
		if err := mount("overlay", "/"+o, "overlay", 0, fmt.Sprintf("lowerdir=/%s,upperdir=%s,workdir=%s", o, upper, work)); err != nil {
			return err
		}
	}
	for _, b := range []string{"lib/containerd", "lib/kubelet", "log"} { // an overlay cannot lie on an overlay
		src, dst := filepath.Join(dir, b), filepath.Join("/var", b)
		for _, d := range []string{src, dst} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				return err
			}
		}
		if err := mount(src, dst, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return nil
}
