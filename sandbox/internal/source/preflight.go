package source

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/sandbox/internal/cgroup"
	"github.com/waggle-mesh/waggle/sandbox/internal/plan"
)

const gib = 1 << 30

// What a machine must have free.
const (
	firstBuildDisk = 5 * gib // Go's caches and ours, when nothing has been built yet
	stateDisk      = gib / 2 // etcd, logs and the nodes' unpacked images
	memory         = gib * 3 / 4
)

// capabilities by their number, as capabilities(7) names them.
var capabilities = map[string]int{"CAP_NET_ADMIN": 12, "CAP_SYS_CHROOT": 18, "CAP_SYS_ADMIN": 21, "CAP_MKNOD": 27}

// Check finds, before anything is built or started, what this machine lacks.
// Each missing thing is said with what to do about it.
func Check(p *plan.Plan) error {
	return errors.Join(checkPrivileges(), checkKernel(), checkDisk(p), checkMemory())
}

func checkPrivileges() error {
	if os.Geteuid() != 0 {
		return errors.New("must run as root: nodes are made of namespaces, mounts and links (try sudo)")
	}
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	var effective uint64
	for line := range strings.Lines(string(b)) {
		if hex, ok := strings.CutPrefix(line, "CapEff:"); ok {
			if _, err := fmt.Sscanf(strings.TrimSpace(hex), "%x", &effective); err != nil {
				return fmt.Errorf("read own capabilities: %w", err)
			}
		}
	}
	var missing []string
	for name, bit := range capabilities {
		if effective>>bit&1 == 0 {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return fmt.Errorf("root here lacks %s: in a container, run it privileged", strings.Join(missing, ", "))
}

func checkKernel() error {
	_, err := cgroup.Hierarchies()
	b, e := os.ReadFile("/proc/filesystems")
	if e != nil {
		return errors.Join(err, e)
	}
	known := strings.Fields(string(b))
	for _, fs := range []string{"overlay", "bpf"} {
		if !slices.Contains(known, fs) {
			err = errors.Join(err, fmt.Errorf("the kernel has no file system %s (try: modprobe %s)", fs, fs))
		}
	}
	return err
}

func checkDisk(p *plan.Plan) error {
	var errs []error
	if _, err := os.Stat(p.Kube()); err != nil {
		errs = append(errs, free("-cache "+p.Cache, p.Cache, firstBuildDisk))
	}
	return errors.Join(append(errs, free("-dir "+p.Dir, p.Dir, stateDisk))...)
}

// free checks the space of the file system that a folder is, or would be, on.
func free(what, dir string, need uint64) error {
	for {
		if _, err := os.Stat(dir); err == nil || dir == "/" {
			break
		}
		dir = filepath.Dir(dir)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("look at the space of %s: %w", dir, err)
	}
	if have := st.Bavail * uint64(st.Bsize); have < need {
		return fmt.Errorf("%s: %.1f GiB are free, %.1f GiB are needed", what, float64(have)/gib, float64(need)/gib)
	}
	return nil
}

func checkMemory() error {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		var kib uint64
		if n, _ := fmt.Sscanf(line, "MemAvailable: %d kB", &kib); n == 1 && kib<<10 < memory {
			return fmt.Errorf("%.1f GiB of memory are available, %.2f GiB are needed", float64(kib)/(1<<20), float64(memory)/gib)
		}
	}
	return nil
}
