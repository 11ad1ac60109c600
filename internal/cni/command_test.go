package cni

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"
)

const dual = "10.9.1.0/24 fd09:1::/64"

// TestAddCheckDel of a pod in each kind of cluster.
func TestAddCheckDel(t *testing.T) {
	for ranges, want := range map[string]string{
		"10.9.1.0/24": "10.9.1.3/32 via 10.9.1.1",
		"fd09:1::/64": "fd09:1::3/128 via fd09:1::1",
		dual:          "10.9.1.3/32 via 10.9.1.1, fd09:1::3/128 via fd09:1::1",
	} {
		t.Run(strings.ReplaceAll(ranges, "/", "_"), func(t *testing.T) {
			n := newNode(t, ranges)
			n.start()
			p := n.pod("c1")
			if err := p.add(); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, ip := range p.result.IPs {
				got = append(got, fmt.Sprintf("%s via %s", ip.Address.String(), ip.Gateway))
			}
			if text := strings.Join(got, ", "); text != want {
				t.Errorf("addresses %s, want %s", text, want)
			}
			inPod := *n
			inPod.netns = p.netns
			if text := inPod.run("ip -o link show dev eth0"); !strings.Contains(text, "mtu 1400") || !strings.Contains(text, p.result.Interfaces[1].Mac) {
				t.Errorf("eth0: %s, want MTU 1400 and %s", text, p.result.Interfaces[1].Mac)
			}
			for _, a := range p.addresses() {
				n.reach(a)
			}
			if err := p.check(); err != nil {
				t.Errorf("check: %v", err)
			}
			for range 2 {
				if err := p.del(); err != nil {
					t.Fatal(err)
				}
			}
			if traces := n.left(); len(traces) > 0 {
				t.Errorf("left: %q", traces)
			}
			if code := codeOf(p.check()); code != types.ErrUnknownContainer {
				t.Errorf("check of a deleted container: code %d", code)
			}
		})
	}
}

// reach connects from the node to a port of the pod where nobody listens: the
// pod itself says so.
func (n *node) reach(address string) {
	n.t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(int(n.netns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		_, err := net.DialTimeout("tcp", net.JoinHostPort(address, "81"), 5*time.Second)
		done <- err
	}()
	if err := <-done; !errors.Is(err, unix.ECONNREFUSED) {
		n.t.Errorf("connect to %s: %v, want it refused", address, err)
	}
}

// TestAddTwice: the second ADD of an attachment makes it anew.
func TestAddTwice(t *testing.T) {
	n := newNode(t, dual)
	n.start()
	p := n.pod("c1")
	for range 2 {
		if err := p.add(); err != nil && !strings.Contains(err.Error(), "already") {
			t.Fatal(err)
		}
	}
	if err := p.check(); err != nil {
		t.Error(err)
	}
	if files, _ := os.ReadDir(n.in("attached")); len(files) != 1 {
		t.Errorf("programs of %d devices", len(files))
	}
}

// TestNodesOwnNamespace: a pod's device there would be the node's, and so would
// its default route.
func TestNodesOwnNamespace(t *testing.T) {
	n := newNode(t, dual)
	n.start()
	look := func() string { return n.run("ip -o link") + n.run("ip route") + n.run("ip -6 route") }
	before := look()
	p := &pod{node: n, container: "c1", netns: n.netns}
	if err := p.add(); codeOf(err) != types.ErrInvalidNetNS || !strings.Contains(err.Error(), "the node's own") {
		t.Errorf("add: %v", err)
	}
	if after := look(); after != before {
		t.Errorf("the node has\n%s\nhad\n%s", after, before)
	}
	if traces := n.left(); len(traces) > 0 {
		t.Errorf("left: %q", traces)
	}
}

// TestCheckFinds what somebody has broken.
func TestCheckFinds(t *testing.T) {
	for what, want := range map[string]string{
		"ip link set HOST down":                     "up",
		"ip route del 10.9.1.3":                     "no route to 10.9.1.3",
		"POD ip addr del 10.9.1.3/32 dev eth0":      "lost address 10.9.1.3",
		"POD ip route del default":                  "no default route",
		"POD ip -6 addr flush dev eth0":             "lost address fd09:1::3",
		"POD ip link set eth0 down":                 "down",
		"POD sysctl net.ipv6.conf.eth0.accept_ra=1": "accept_ra",
		"rm -r DIR/attached":                        "programs of default/c1",
	} {
		n := newNode(t, dual)
		n.start()
		p := n.pod("c1")
		if err := p.add(); err != nil {
			t.Fatal(err)
		}
		where := *n
		command, inPod := strings.CutPrefix(what, "POD ")
		if inPod {
			where.netns = p.netns
		}
		where.run(strings.NewReplacer("HOST", p.result.Interfaces[0].Name, "DIR", n.dir).Replace(command))
		if err := p.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", what, err, want)
		}
		n.kill()
	}
}

// TestCheckAgainstResult: the runtime remembers other addresses.
func TestCheckAgainstResult(t *testing.T) {
	n := newNode(t, dual)
	n.start()
	p, q := n.pod("c1"), n.pod("c2")
	for _, p := range []*pod{p, q} {
		if err := p.add(); err != nil {
			t.Fatal(err)
		}
	}
	p.result = q.result
	if err := p.check(); err == nil || !strings.Contains(err.Error(), "10.9.1.4") {
		t.Errorf("error %v", err)
	}
}

// TestCollect: GC takes away what the runtime does not know.
func TestCollect(t *testing.T) {
	n := newNode(t, dual)
	n.start()
	var pods []*pod
	for i := range 4 {
		p := n.pod(fmt.Sprint("c", i))
		if err := p.add(); err != nil {
			t.Fatal(err)
		}
		pods = append(pods, p)
	}
	if err := n.collect(pods[1], pods[3]); err != nil {
		t.Fatal(err)
	}
	for i, p := range pods {
		if err := p.check(); (err == nil) != (i%2 == 1) {
			t.Errorf("pod %d: %v", i, err)
		}
	}
	if err := n.collect(); err != nil {
		t.Fatal(err)
	}
	if traces := n.left(); len(traces) > 0 {
		t.Errorf("left: %q", traces)
	}
}

func TestStatus(t *testing.T) {
	n := newNode(t, dual)
	if err := n.status(); codeOf(err) != types.ErrPluginNotAvailable {
		t.Errorf("without an agent: %v", err)
	}
	n.start()
	n.write("broken", "no BPF here")
	if err := n.status(); codeOf(err) != types.ErrPluginNotAvailable || !strings.Contains(err.Error(), "no BPF here") {
		t.Errorf("broken: %v", err)
	}
}

// TestExhausted: the error names the range and its counts; a pod that ends
// makes room.
func TestExhausted(t *testing.T) {
	n := newNode(t, "10.9.1.0/29")
	n.start()
	var pods []*pod
	for i := range 5 {
		pods = append(pods, n.pod(fmt.Sprint("c", i)))
	}
	for _, p := range pods[:4] {
		if err := p.add(); err != nil {
			t.Fatal(err)
		}
	}
	if err := pods[4].add(); err == nil || !strings.Contains(err.Error(), "PodCIDR 10.9.1.0/29: 4 of 4 in use") {
		t.Errorf("error %v", err)
	}
	if err := pods[1].del(); err != nil {
		t.Fatal(err)
	}
	if err := pods[4].add(); err != nil || !slices.Equal(pods[4].addresses(), pods[1].addresses()) {
		t.Errorf("after a release: %v, error %v", pods[4].addresses(), err)
	}
}

// TestAttachRefused: no program, no pod, and nothing stays behind.
func TestAttachRefused(t *testing.T) {
	n := newNode(t, dual)
	n.start()
	n.write("refuse", "the verifier says no")
	p := n.pod("c1")
	if err := p.add(); err == nil || !strings.Contains(err.Error(), "the verifier says no") || !strings.Contains(err.Error(), "default/c1") {
		t.Errorf("error %v", err)
	}
	if traces := n.left(); len(traces) > 0 {
		t.Errorf("left: %q", traces)
	}
	n.remove("refuse")
	if err := p.add(); err != nil {
		t.Error(err)
	}
}

// TestAgentAway: ADD fails with "try again later", DEL succeeds and is made
// up for.
func TestAgentAway(t *testing.T) {
	n := newNode(t, dual)
	n.start()
	p, q := n.pod("c1"), n.pod("c2")
	if err := p.add(); err != nil {
		t.Fatal(err)
	}
	n.kill()
	if err := q.add(); codeOf(err) != types.ErrTryAgainLater || !strings.Contains(err.Error(), "agent of this node is not there") {
		t.Errorf("add: %v", err)
	}
	if err := q.del(); err != nil {
		t.Errorf("delete of what never was: %v", err)
	}
	if err := p.del(); err != nil {
		t.Errorf("delete: %v", err)
	}
	if !exists(n.in("run/deletions/c1@eth0")) {
		t.Error("the deletion is not queued")
	}
	n.start()
	n.waitForNothing()
}

// waitForNothing waits until queued deletions are made.
func (n *node) waitForNothing() {
	n.t.Helper()
	for end := deadline(n.t); ; {
		traces := n.left()
		if len(traces) == 0 {
			return
		}
		if end() {
			n.t.Fatalf("left: %q", traces)
		}
	}
}

// TestDeletionThatIsNoLongerMeant: an ADD of the same attachment is newer.
func TestDeletionThatIsNoLongerMeant(t *testing.T) {
	n := newNode(t, dual)
	n.start()
	q := queueOf(n.in("run/cni.sock"))
	if err := q.put("c1@eth0"); err != nil {
		t.Fatal(err)
	}
	p := n.pod("c1")
	if err := p.add(); err != nil {
		t.Fatal(err)
	}
	if exists(filepath.Join(q.dir, "c1@eth0")) {
		t.Error("the deletion is still queued")
	}
	if err := p.check(); err != nil {
		t.Error(err)
	}
}

// TestNamespaceUnknown: what may be the node's own namespace is refused.
func TestNamespaceUnknown(t *testing.T) {
	const own = "/proc/thread-self/ns/net"
	netns, err := os.Open(own)
	if err != nil {
		t.Fatal(err)
	}
	if err := ofItsOwn(netns, "/proc/thread-self/ns/none"); err == nil || !strings.Contains(err.Error(), "the node's own") {
		t.Errorf("where the node's cannot be looked at: %v", err)
	}
	netns.Close()
	if err := ofItsOwn(netns, own); err == nil || !strings.Contains(err.Error(), "the pod's") {
		t.Errorf("where the pod's cannot be looked at: %v", err)
	}
	if err := ofItsOwn(nil, own); err != nil {
		t.Errorf("without one: %v", err)
	}
}
