// Package world is what benchmarks of the data path measure in: two nodes with
// pods and a client outside, from package nodes, with a load on them; plain,
// or with Waggle's data path as the agent sets it up.
package world

import (
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/test/bench/load"
	"github.com/waggle-mesh/waggle/test/nodes"
)

// World is a ground with pods, all of whose load is on one core: then what a
// request costs is what that core did for it, wakings and interrupts included.
type World struct {
	*nodes.Ground
	A, B *nodes.Pod // a client and a server on the first node
	D    *nodes.Pod // a server on the second

	InPod, Outside *load.Client          // in A, and on the client's machine
	Servers        []*load.Process       // in B and D
	Waggle         [2]*Node              // of the nodes, if they run it
	pods           map[uint32]*nodes.Pod // by identity
}

// Identities of the pods.
const (
	identityA = 1001 + iota
	identityB
	identityD
)

// Core is that of the load: the last one that this process may use. The others
// are for everybody else.
var Core = sync.OnceValue(func() int {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return 0
	}
	core := 0
	for i := range 8 * int(unsafe.Sizeof(set)) {
		if set.IsSet(i) {
			core = i
		}
	}
	return core
})

// New makes a plain one.
func New(t testing.TB) *World {
	g := nodes.New(t)
	w := &World{Ground: g}
	w.A, w.B, w.D = g.Nodes[0].AddPod(t, "a"), g.Nodes[0].AddPod(t, "b"), g.Nodes[1].AddPod(t, "d")
	w.pods = map[uint32]*nodes.Pod{identityA: w.A, identityB: w.B, identityD: w.D}
	for _, n := range g.Nodes {
		write(t, &n.Machine, "net/ipv4/conf/all/send_redirects", "0")
		write(t, &n.Machine, "net/ipv4/conf/eth0/send_redirects", "0")
	}
	write(t, g.Client, "net/ipv6/conf/all/accept_redirects", "0")
	write(t, g.Client, "net/ipv6/conf/eth0/accept_redirects", "0")
	for _, m := range []*nodes.Machine{&w.A.Machine, &w.B.Machine, &w.D.Machine, g.Client, &g.Nodes[0].Machine} {
		write(t, m, "net/ipv4/tcp_congestion_control", "reno") // always there; BBR paces by timers
	}
	w.InPod, w.Outside = load.NewClient(t, &w.A.Machine, Core()), load.NewClient(t, g.Client, Core())
	w.Servers = []*load.Process{load.Serve(t, &w.B.Machine, Core()), load.Serve(t, &w.D.Machine, Core())}
	return w
}

// write sets a variable of a machine's network namespace.
func write(t testing.TB, m *nodes.Machine, name, value string) {
	m.Do(t, func() error { return os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0) })
}

// PIDs are the processes of the load.
func (w *World) PIDs() []int {
	pids := []int{w.InPod.PID, w.Outside.PID}
	for _, s := range w.Servers {
		pids = append(pids, s.PID)
	}
	return pids
}

// Address is that of a host in one of the worlds' networks of virtual
// addresses: 10.NETWORK.0.HOST or fdNETWORK::HOST.
func Address(family int, network, host byte) netip.Addr {
	if family == 4 {
		return netip.AddrFrom4([4]byte{10, network, 0, host})
	}
	return netip.AddrFrom16([16]byte{0: 0xfd, 1: network, 15: host})
}
