package nodes

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
)

// TestFamilySwitchedOff: pods have no address of a family that is switched off,
// though the node has a range for it, and reach each other by the other one.
func TestFamilySwitchedOff(t *testing.T) {
	n := newAgentNode(t, New(t), "--enable-ipv6=false")
	n.startAgent()
	a, b := n.addPod("a"), n.addPod("b")
	for _, p := range []*Pod{a, b} {
		if !p.Addr4.IsValid() || p.Addr6.IsValid() {
			t.Errorf("pod %s has the addresses %v and %v", p.Name, p.Addr4, p.Addr6)
		}
	}
	b.Serve(t, ServeRequest{Address: ":80"})
	n.eventually("one reaches the other", func() bool { return a.Get(t, url(b.Addr4, "/")).Status == 200 })
	said := ""
	n.eventually("the node says where its pods are", func() bool {
		said = fmt.Sprint(kubetest.Meta(n.api.Get(n.path("Node", n.Name)))["annotations"])
		return strings.Contains(said, "network.cilium.io/ipv4-pod-cidr:10.78.1.0/24")
	})
	if strings.Contains(said, "fd78") {
		t.Errorf("the node says %s", said)
	}
}

// TestFamilyLost: an agent that finds pods with addresses of a family that is
// switched off says so.
func TestFamilyLost(t *testing.T) {
	n := newAgentNode(t, New(t))
	n.startAgent()
	n.addPod("a")
	n.stopAgent(syscall.SIGTERM)
	said := func() bool {
		text, err := os.ReadFile(filepath.Join(n.dir, "agent.log"))
		n.must("read the log", err)
		return strings.Contains(string(text), "nothing is routed to the IPv6 addresses of 1 pods that run, the first is default/a")
	}
	n.startAgent()
	if said() {
		t.Error("it is said of a family that is on")
	}
	n.stopAgent(syscall.SIGTERM)
	n.flags = []string{"--enable-ipv6=false"}
	n.startAgent()
	if !said() {
		t.Error("it is not said")
	}
}
