package redirect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// hierarchy is a mounted cgroup2 file system.
type hierarchy struct {
	mount string // where it is mounted
	root  string // the cgroup that is there, as /proc/PID/cgroup writes it
}

// hierarchyAt finds the one that a folder is in.
func hierarchyAt(folder string) (h hierarchy, err error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return h, fmt.Errorf("list mounts: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		here, source, _ := strings.Cut(line, " - ")
		fields := strings.Fields(here)
		if len(fields) < 5 || !strings.HasPrefix(source, "cgroup2 ") {
			continue
		}
		if mount := fields[4]; below(folder, mount) && len(mount) >= len(h.mount) {
			h = hierarchy{mount, fields[3]}
		}
	}
	if h.mount == "" {
		return h, fmt.Errorf("find the cgroup2 mount of %s: there is none in /proc/self/mountinfo", folder)
	}
	return h, nil
}

func below(path, folder string) bool {
	return folder == "/" || path == folder || strings.HasPrefix(path, folder+"/")
}

// folder is that of a cgroup, named as in /proc/PID/cgroup. Seen from a cgroup
// namespace both names begin with "/..", as often as it is deep.
func (h hierarchy) folder(cgroup string) (string, error) {
	rest := strings.TrimPrefix(cgroup, h.root)
	if !below(cgroup, h.root) || slices.Contains(strings.Split(rest, "/"), "..") {
		return "", fmt.Errorf("cgroup %s is not below %s, which is mounted at %s", cgroup, h.root, h.mount)
	}
	if strings.Trim(rest, "/") == "" {
		return "", fmt.Errorf("cgroup %s is what is mounted at %s: Envoy needs one of its own", cgroup, h.mount)
	}
	return filepath.Join(h.mount, rest), nil
}

// byID finds a cgroup by its inode. The path holds while closer is open.
func (h hierarchy) byID(id uint64) (path string, closer io.Closer, err error) {
	mount, err := os.Open(h.mount)
	if err != nil {
		return "", nil, err
	}
	defer mount.Close()
	const fileIDKernfs = 0xfe // linux/exportfs.h
	number := make([]byte, 8)
	binary.NativeEndian.PutUint64(number, id)
	fd, err := unix.OpenByHandleAt(int(mount.Fd()), unix.NewFileHandle(fileIDKernfs, number), unix.O_RDONLY)
	if err != nil {
		return "", nil, err
	}
	f := os.NewFile(uintptr(fd), "cgroup")
	return fmt.Sprintf("/proc/self/fd/%d", fd), f, nil
}

// populated tells whether a process lives in a cgroup or below. That it cannot
// be found out is an error: it may live.
func (h hierarchy) populated(id uint64) (bool, error) {
	path, closer, err := h.byID(id)
	if isGone(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open cgroup %d: %w", id, err)
	}
	defer closer.Close()
	events, err := os.ReadFile(filepath.Join(path, "cgroup.events"))
	if isGone(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask who lives in cgroup %d: %w", id, err)
	}
	return strings.Contains(string(events), "populated 1"), nil
}

// isGone tells whether an error says that there is no such cgroup any more.
func isGone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESTALE) || errors.Is(err, unix.ENODEV)
}
