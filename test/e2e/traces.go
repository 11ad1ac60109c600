package e2e

import (
	"fmt"
	"strings"
)

// Traces is all that an agent could have left on a node.
func (c *Test) Traces(node string) string {
	c.Helper()
	var b strings.Builder
	for _, command := range []string{
		"ip -o link | sed 's/ qlen.*//'", "ip -o address | sed 's/valid_lft.*//'", "ip rule", "ip -6 rule",
		"ip route show table all | grep -v ' dev eth0 .*local\\|broadcast'", "ip -6 route show table all",
		"ls -R /sys/fs/bpf /etc/cni /opt/cni /run/cilium /var/lib/cilium", "ls /run/netns 2>/dev/null",
		"bpftool net show", "bpftool cgroup tree /sys/fs/cgroup/unified 2>/dev/null || bpftool cgroup tree /sys/fs/cgroup",
		"nft -s list ruleset", "ss -Hltn | awk '{print $4}' | sort",
		"sysctl -a -r '^net\\.' 2>/dev/null | grep -v 'conntrack_count\\|netdev_rss_key\\|stable_secret'",
	} {
		fmt.Fprintf(&b, "$ %s\n%s\n", command, c.Sandbox("exec", node, "sh", "-c", "("+command+") 2>&1 || true"))
	}
	return b.String()
}

// Others are the lines of a text that another has not.
func Others(text, without string) string {
	there := map[string]bool{}
	for line := range strings.Lines(without) {
		there[line] = true
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !there[line] {
			b.WriteString(line)
		}
	}
	return b.String()
}
