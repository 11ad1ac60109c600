package daemon

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/agent/announcer"
	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
)

const (
	announceLease = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/cilium-l2announce-default-web"
	announcePath  = "/api/v1/namespaces/default/services/web"
)

var announced = []netip.Addr{netip.MustParseAddr("192.168.78.200"), netip.MustParseAddr("fd78::200")}

// announcing is a node that may announce a Service.
func announcing(t *testing.T) *ground {
	g := newGround(t)
	g.settings.Announce = announcer.Options{Enabled: true, Namespace: "kube-system", Duration: time.Hour, Deadline: 5 * time.Second, Retry: 200 * time.Millisecond}
	g.node(both)
	g.Put("/apis/cilium.io/v2alpha1/ciliuml2announcementpolicies/all", kubetest.Object{
		"kind": "CiliumL2AnnouncementPolicy", "apiVersion": "cilium.io/v2alpha1", "spec": kubetest.Object{"loadBalancerIPs": true}})
	g.addresses(announced...)
	return g
}

// addresses are those that the Service has.
func (g *ground) addresses(all ...netip.Addr) {
	var ingress []any
	for _, a := range all {
		ingress = append(ingress, kubetest.Object{"ip": a.String()})
	}
	g.Put(announcePath, kubetest.Object{"kind": "Service", "apiVersion": "v1",
		"spec": kubetest.Object{"type": "LoadBalancer", "clusterIP": "10.96.0.1", "clusterIPs": []any{"10.96.0.1", "fd96::1"},
			"ipFamilies": []any{"IPv4", "IPv6"}, "ports": []any{kubetest.Object{"port": 80}}},
		"status": kubetest.Object{"loadBalancer": kubetest.Object{"ingress": ingress}}})
}

// holder is who has the Service's Lease, and how often it has changed hands.
func (g *ground) holder() (who, transitions any) {
	spec, _ := g.Get(announceLease)["spec"].(kubetest.Object)
	return spec["holderIdentity"], spec["leaseTransitions"]
}

func (g *ground) eventually(what string, is func() bool) {
	g.t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			g.t.Fatalf("never: %s", what)
		}
	}
}

// found expects the client to find the Service's addresses at the node, or
// nowhere.
func (g *ground) found(here bool) {
	g.t.Helper()
	g.client.ForgetNeighbours(g.t)
	var want net.HardwareAddr
	if here {
		g.Do(g.t, func() error {
			device, err := net.InterfaceByName("eth0")
			if err == nil {
				want = device.HardwareAddr
			}
			return err
		})
	}
	for _, a := range announced {
		if got := g.client.Neighbour(g.t, a); !slices.Equal(got, want) {
			g.t.Errorf("the client finds %s at %v, want %v", a, got, want)
		}
	}
}

// TestAnnounce: neighbours find a Service's addresses at the node that has its
// Lease; they do while no agent runs, and the next agent goes on without taking
// the Lease anew; with the Service all of it goes.
func TestAnnounce(t *testing.T) {
	g := announcing(t)
	first := g.start(g.settings)
	first.ready()
	g.eventually("the node has the Lease", func() bool { who, _ := g.holder(); return who == "n1" })
	g.eventually("it announces", func() bool { return strings.Contains(first.said.String(), "announcing") })
	g.found(true)

	first.kill()
	g.found(true)
	next := g.start(g.settings)
	next.ready()
	g.eventually("it announces", func() bool { return strings.Contains(next.said.String(), "announcing") })
	g.found(true)
	if who, transitions := g.holder(); who != "n1" || transitions != nil && transitions != 0.0 {
		t.Errorf("the Lease is %v's after %v transitions", who, transitions)
	}

	seen := func(a netip.Addr) bool {
		g.client.ForgetNeighbours(t)
		return g.client.Neighbour(t, a) != nil
	}
	g.addresses(announced[0]) // it loses one
	g.eventually("the other is not announced any more", func() bool { return !seen(announced[1]) })
	g.addresses(announced...)
	g.eventually("it is again", func() bool { return seen(announced[1]) })

	g.Remove(announcePath)
	g.eventually("the Lease is gone", func() bool { return g.Get(announceLease) == nil })
	g.eventually("it announces no more", func() bool { return strings.Contains(next.said.String(), "not announcing any more") })
	g.found(false)
}

// TestAnnounceElsewhere: an agent that ends keeps its Leases for the next one,
// but for that of a node that is cordoned; a node that finds its Lease taken
// answers no more; and neither does one that is to announce nothing.
func TestAnnounceElsewhere(t *testing.T) {
	g := announcing(t)
	a := g.start(g.settings)
	a.ready()
	g.eventually("the node has the Lease", func() bool { who, _ := g.holder(); return who == "n1" })
	a.stop()
	if who, _ := g.holder(); who != "n1" {
		t.Errorf("the Lease of an agent that has ended is %v's", who)
	}
	a = g.start(g.settings)
	a.ready()
	g.eventually("it announces", func() bool { return strings.Contains(a.said.String(), "announcing") })
	self := g.Get("/api/v1/nodes/n1")
	g.Put("/api/v1/nodes/n1", kubetest.Object{"status": self["status"], "spec": kubetest.Object{"podCIDRs": both, "unschedulable": true}})
	g.eventually("the agent has seen it", func() bool { return kubetest.Meta(g.Get("/api/v1/nodes/n1"))["annotations"] != nil })
	a.stop()
	g.found(true) // until somebody else claims them

	lease := g.Get(announceLease)
	spec := lease["spec"].(kubetest.Object)
	if spec["holderIdentity"] != nil && spec["holderIdentity"] != "" {
		t.Errorf("the Lease of a cordoned node is %v's", spec["holderIdentity"])
	}
	g.Put(announceLease, kubetest.Object{"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": lease["metadata"],
		"spec": kubetest.Object{"holderIdentity": "n2", "leaseDurationSeconds": 3600}})
	a = g.start(g.settings)
	a.ready()
	g.eventually("it announces no more", func() bool { return strings.Contains(a.said.String(), "not announcing any more") })
	g.found(false)
}

// TestAnnounceTakeOver: when a node is cut off without a word, whoever knows its
// addresses finds them at another node, within 3 s if Leases last 2 s.
func TestAnnounceTakeOver(t *testing.T) {
	n1 := announcing(t)
	n1.settings.Announce.Duration, n1.settings.Announce.Deadline = 2*time.Second, time.Second
	n2 := n1.neighbour()
	n2.node([]any{"10.99.2.0/24", "fd99:2::/64"})
	n2.settings.Announce = n1.settings.Announce
	first, second := n1.start(n1.settings), n2.start(n2.settings)
	first.ready()
	second.ready()
	n1.eventually("somebody has the Lease", func() bool { who, _ := n1.holder(); return who != nil })
	if who, _ := n1.holder(); who == "n2" {
		first, second = second, first
	}
	first.eventually("it announces", func() bool { return strings.Contains(first.said.String(), "announcing") })
	first.found(true)
	mac := n1.client.Neighbour(t, announced[0])

	first.Run(t, "ip", "link", "set", "eth0", "down")
	first.kill()
	begin := time.Now()
	second.eventually("the client finds them at the other node", func() bool {
		for _, a := range announced {
			if got := second.client.Neighbour(t, a); got == nil || slices.Equal(got, mac) {
				return false
			}
		}
		return true
	})
	took := time.Since(begin)
	t.Logf("taken over after %s", took)
	if took > 10*time.Second { // 3 s where the machine does nothing else
		t.Errorf("taken over after %s", took)
	}
	second.found(true)
}
