package redirect

import "testing"

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
