package daemon

import (
	"os"
	"strings"
)

// hostCgroup is where a pod finds the node's cgroup2 root: the first mount
// below /host, where the manifest puts the node's. Empty: there is none, and
// the process is no pod.
func hostCgroup() string {
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if len(fields) > 2 && fields[2] == "cgroup2" && strings.HasPrefix(fields[1], "/host/") {
			return fields[1]
		}
	}
	return ""
}
