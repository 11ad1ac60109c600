// Package kernel tells whether the running kernel has what the data path needs,
// and where: its release, its BPF and cgroup file systems, the cookie of a
// network namespace. It changes nothing.
package kernel

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What the programs need: tcx (6.6), its relatives for the proxy (6.10).
const neededMajor, neededMinor = 6, 10

// A FileSystem is one that must be mounted.
type FileSystem struct {
	kind    string // as /proc/mounts calls it
	magic   int64
	command string // that mounts it
}

// The file systems that the data path is on.
var (
	BPF     = FileSystem{"bpf", unix.BPF_FS_MAGIC, "mount -t bpf bpf /sys/fs/bpf"}
	Cgroup2 = FileSystem{"cgroup2", unix.CGROUP2_SUPER_MAGIC, "mount -t cgroup2 cgroup2 /run/waggle/cgroup"}
)

// Check tells what this machine is missing, of kernel, BPF file system and
// cgroup2 root: paths, or empty for what /proc/mounts names. It changes nothing.
func Check(bpffs, cgroup string) error {
	if err := checkRunning(); err != nil {
		return err
	}
	if _, err := BPF.Mount(bpffs); err != nil {
		return err
	}
	_, err := Cgroup2.Mount(cgroup)
	return err
}

func checkRunning() error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return fmt.Errorf("ask the kernel's release: %w", err)
	}
	release := unix.ByteSliceToString(name.Release[:])
	if !releaseSuffices(release) {
		return fmt.Errorf("kernel %s is too old: Linux %d.%d or newer is needed, for tcx and bpf_redirect_peer from it", release, neededMajor, neededMinor)
	}
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		return fmt.Errorf("kernel %s has no type information (CONFIG_DEBUG_INFO_BTF): %w", release, err)
	}
	return nil
}

func releaseSuffices(release string) bool {
	parts := strings.SplitN(release, ".", 3)
	if len(parts) < 2 {
		return false
	}
	major, err := strconv.Atoi(parts[0])
	if err != nil {
		return false
	}
	minor, err := strconv.Atoi(strings.TrimRightFunc(parts[1], func(r rune) bool { return r < '0' || r > '9' }))
	return err == nil && (major > neededMajor || major == neededMajor && minor >= neededMinor)
}

// Mount is path if it is on the file system, and what /proc/mounts says where
// path is empty.
func (fs FileSystem) Mount(path string) (string, error) {
	if path == "" {
		found, err := findMount("/proc/mounts", fs.kind)
		if err != nil {
			return "", err
		}
		if found == "" {
			return "", fmt.Errorf("no %s is mounted: %s", fs.kind, fs.command)
		}
		return found, nil
	}
	var stat unix.Statfs_t
	if err := unix.Statfs(path, &stat); err != nil {
		return "", fmt.Errorf("look at %s %s: %w", fs.kind, path, err)
	}
	if stat.Type != fs.magic {
		return "", fmt.Errorf("%s is not on a %s: %s", path, fs.kind, fs.command)
	}
	return path, nil
}

// findMount is the first mount of a kind; empty: there is none.
func findMount(mounts, kind string) (string, error) {
	file, err := os.Open(mounts)
	if err != nil {
		return "", fmt.Errorf("read mounts: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > 2 && fields[2] == kind {
			return unescapeMount.Replace(fields[1]), nil
		}
	}
	return "", lines.Err()
}

// unescapeMount undoes what the kernel does to separators in paths.
var unescapeMount = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// NetnsCookie names this thread's network namespace as the programs see it.
func NetnsCookie() (uint64, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open a socket: %w", err)
	}
	defer unix.Close(fd)
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0, fmt.Errorf("ask the network namespace's cookie: %w", err)
	}
	return cookie, nil
}

// Monotonic is the programs' clock: the time since the machine's start.
func Monotonic() (time.Duration, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0, fmt.Errorf("ask the time: %w", err)
	}
	return time.Duration(now.Nano()), nil
}
