package cluster

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/waggle-mesh/waggle/sandbox/internal/cgroup"
	"github.com/waggle-mesh/waggle/sandbox/internal/member"
	"github.com/waggle-mesh/waggle/sandbox/internal/plan"
)

// usage is what one process costs.
type usage struct {
	name   string
	memory float64 // MiB, shared pages divided among their users (PSS)
	cpu    float64 // seconds since its start
}

// Status lists the processes of every member, its pods' included, with memory
// and CPU time, then programs that do not run, then whether the cluster is ready.
func Status(p *plan.Plan, out io.Writer) error {
	fmt.Fprintf(out, "%-6s %-28s %8s %8s\n", "MEMBER", "PROCESS", "MiB", "CPU s")
	var all usage
	n := 0
	for _, m := range p.MemberNames() {
		own, pods, err := cgroup.Processes(p.Name, m)
		if err != nil {
			return err
		}
		for i, pid := range append(own, pods...) {
			u, ok := usageOf(pid)
			if !ok {
				continue
			}
			if i >= len(own) {
				u.name += " (pod)"
			}
			fmt.Fprintf(out, "%-6s %-28s %8.1f %8.2f\n", m, u.name, u.memory, u.cpu)
			all.memory, all.cpu, n = all.memory+u.memory, all.cpu+u.cpu, n+1
		}
	}
	fmt.Fprintf(out, "%-6s %-28d %8.1f %8.2f\n", "all", n, all.memory, all.cpu)
	running := Running(p.Dir)
	for _, m := range p.MemberNames() {
		if running[m] == 0 {
			fmt.Fprintf(out, "%s is off\n", m)
		}
	}
	for _, g := range Programs(p) {
		if running[g.Member] != 0 && (g.State != member.Running || g.Ends > 0) {
			fmt.Fprintf(out, "%s of %s: %s, ended %d times %s\n", g.Name, g.Member, g.State, g.Ends, g.Why)
		}
	}
	if err := Ready(p); err != nil {
		fmt.Fprintln(out, "not ready:", err)
	} else {
		fmt.Fprintln(out, "ready")
	}
	return nil
}

// usageOf reads a process of /proc; ok is false when it has gone meanwhile.
func usageOf(pid string) (u usage, ok bool) {
	read := func(file string) string {
		b, _ := os.ReadFile(filepath.Join("/proc", pid, file))
		return string(b)
	}
	argv := strings.Split(read("cmdline"), "\x00")
	u.name = filepath.Base(argv[0])
	if u.name == "kube" && len(argv) > 1 {
		u.name = argv[1]
	}
	if _, rest, found := strings.Cut(read("smaps_rollup"), "Pss:"); found {
		var kib float64
		_, _ = fmt.Sscan(rest, &kib)
		u.memory = kib / 1024
	}
	stat := read("stat")
	fields := strings.Fields(stat[strings.LastIndex(stat, ")")+1:]) // the name may hold blanks
	if len(fields) < 13 {
		return u, false
	}
	var user, system float64
	_, _ = fmt.Sscan(fields[11]+" "+fields[12], &user, &system)
	u.cpu = (user + system) / 100 // USER_HZ is 100 on every architecture Go runs on
	return u, true
}
