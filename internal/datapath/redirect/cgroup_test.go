package redirect

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/internal/datapath/kernel"
)

// TestFolder finds cgroups by the names that /proc/PID/cgroup has, and none
// outside of what is mounted.
func TestFolder(t *testing.T) {
	for _, c := range []struct{ root, cgroup, want string }{
		{"/", "/kubepods/pod1/envoy", "/sys/fs/cgroup/kubepods/pod1/envoy"},
		{"/node1", "/node1/kubepods/envoy", "/sys/fs/cgroup/kubepods/envoy"},
		{"/node1", "/node10/envoy", ""},
		{"/node1", "/node1", ""},
		{"/", "/", ""},
		{"/../..", "/../../kubepods/envoy", "/sys/fs/cgroup/kubepods/envoy"},
		{"/../..", "/../../../other", ""},
		{"/..", "/../../kubepods/envoy", ""},
		{"/", "/../envoy", ""},
	} {
		got, err := hierarchy{"/sys/fs/cgroup", c.root}.folder(c.cgroup)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s in a mount of %s: %q, %v; want %q", c.cgroup, c.root, got, err, c.want)
		}
	}
}

// TestPopulated: only a cgroup that is gone or empty has nobody; where it cannot
// be found out, for want of file descriptors, that is an error.
func TestPopulated(t *testing.T) {
	mount, err := kernel.Cgroup2.Mount("")
	if err != nil {
		t.Fatal(err)
	}
	h, err := hierarchyAt(mount)
	if err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(h.mount, "waggle-test-populated")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	inode := func(path string) uint64 {
		var stat unix.Stat_t
		if err := unix.Stat(path, &stat); err != nil {
			t.Fatal(err)
		}
		return stat.Ino
	}
	id, lives := inode(empty), inode(h.mount)
	says := func(what string, id uint64, want bool) {
		t.Helper()
		if got, err := h.populated(id); got != want || err != nil {
			t.Errorf("%s: %t, %v", what, got, err)
		}
	}
	says("an empty one", id, false)
	if err := os.Remove(empty); err != nil {
		t.Fatal(err)
	}
	says("one that is gone", id, false)

	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 3
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	_, err = h.populated(lives)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err == nil {
		t.Error("without file descriptors it is known that nobody lives there")
	}
}
