package cgroup

import (
	"fmt"
	"testing"
)

func TestHierarchies(t *testing.T) {
	for name, c := range map[string]struct{ mounts, want string }{
		"v2 alone": {
			"cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate,memory_recursiveprot 0 0\n",
			"[{/sys/fs/cgroup }]",
		},
		"v1 and unified, as systemd mounts them": {
			`tmpfs /sys/fs/cgroup tmpfs ro,mode=755 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,nosuid,nsdelegate 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,nosuid,xattr,name=systemd 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset,clone_children 0 0
cgroup /elsewhere cgroup rw,memory 0 0
`,
			"[{/sys/fs/cgroup/unified } {/sys/fs/cgroup/systemd none,name=systemd} {/sys/fs/cgroup/cpu,cpuacct cpu,cpuacct} {/sys/fs/cgroup/cpuset cpuset}]",
		},
	} {
		if got := fmt.Sprint(hierarchies(c.mounts)); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}
