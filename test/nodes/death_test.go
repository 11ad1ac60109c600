package nodes

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// kill ends an Envoy of a node, and tells when nothing connects to it any more:
// the kernel closes the sockets of the dead a little after their process is gone.
func kill(t testing.TB, n *Node, pid int, gone <-chan struct{}) time.Time {
	t.Helper()
	its := socketsOf(t, pid)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-gone
	for deadline := time.Now().Add(10 * time.Second); anyOpen(t, n, its); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a dead Envoy has sockets for ten seconds")
		}
	}
	return time.Now()
}

// socketsOf are the numbers of a process's sockets.
func socketsOf(t testing.TB, pid int) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(files) == 0 {
		t.Fatalf("process %d has no files: %v", pid, err)
	}
	its := map[string]bool{}
	for _, f := range files {
		if target, err := os.Readlink(f); err == nil && strings.HasPrefix(target, "socket:") {
			its[target] = true
		}
	}
	return its
}

// anyOpen tells whether one of the sockets is a TCP socket of the node that a process has.
func anyOpen(t testing.TB, n *Node, its map[string]bool) (open bool) {
	t.Helper()
	n.Do(t, func() error {
		for _, family := range []uint8{syscall.AF_INET, syscall.AF_INET6} {
			sockets, err := netlink.SocketDiagTCP(family)
			if err != nil {
				return err
			}
			open = open || slices.ContainsFunc(sockets, func(s *netlink.Socket) bool { return its[fmt.Sprintf("socket:[%d]", s.INode)] })
		}
		return nil
	})
	return open
}

// lateFailures are requests that failed on connections that were begun after a
// moment. Those on older ones are cut off with what they were connected to.
func lateFailures(failed []Failure, moment time.Time) (late []Failure) {
	for _, f := range failed {
		if f.Connected.After(moment) {
			late = append(late, f)
		}
	}
	return late
}
