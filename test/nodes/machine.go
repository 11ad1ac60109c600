package nodes

import (
	"fmt"
	"net/netip"
	"net/rpc"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// Machine is a network namespace and the cgroup of its processes.
type Machine struct {
	Name         string
	Addr4, Addr6 netip.Addr
	Cgroup       string // of processes that are started with no other

	ns    *namespace
	calls *rpc.Client // to its Resident
}

func (g *Ground) newMachine(t testing.TB, name, cgroup string) (*Machine, error) {
	ns, err := newNamespace(g.prefix + "-" + name)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { ns.handle.Close() })
	m := &Machine{Name: name, Cgroup: cgroup, ns: ns}
	return m, m.settle(t)
}

// Namespace is the path of the network namespace, for setns.
func (m *Machine) Namespace() string { return namespaces + "/" + m.ns.name }

// Do calls f on a thread in the machine's network namespace. What f opens
// (netlink and other sockets, BPF links of the namespace) stays usable; f
// starts no goroutines that open more.
func (m *Machine) Do(t testing.TB, f func() error) {
	t.Helper()
	if err := m.ns.do(f); err != nil {
		t.Fatalf("on %s: %v", m.Name, err)
	}
}

// Within does the same for who has no test at hand.
func (m *Machine) Within(f func() error) error { return m.ns.do(f) }

// Addr is the machine's address of a family, 4 or 6.
func (m *Machine) Addr(family int) netip.Addr {
	if family == 6 {
		return m.Addr6
	}
	return m.Addr4
}

// Start starts a command in the machine, in a cgroup (made if need be; empty:
// the machine's own). It ends with the ground at the latest; the caller waits
// for it.
func (m *Machine) Start(cmd *exec.Cmd, cgroup string) error {
	if cgroup == "" {
		cgroup = m.Cgroup
	}
	if err := os.MkdirAll(cgroup, 0o755); err != nil {
		return fmt.Errorf("make cgroup %s: %w", cgroup, err)
	}
	dir, err := os.Open(cgroup)
	if err != nil {
		return err
	}
	defer dir.Close()
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	// A process begins in the namespace of the thread that made it.
	if err := m.ns.do(cmd.Start); err != nil {
		return fmt.Errorf("start %s on %s: %w", cmd.Path, m.Name, err)
	}
	return nil
}

// Run runs a command in the machine to its end and gives what it wrote.
func (m *Machine) Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	var out strings.Builder
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := m.Start(cmd, "")
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		t.Fatalf("%s: %s: %v\n%s", m.Name, strings.Join(cmd.Args, " "), err, out.String())
	}
	return out.String()
}
