package daemon

import (
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
)

// TestNodeUnready: an agent waits for what its node's object lacks, says so,
// and goes on by itself.
func TestNodeUnready(t *testing.T) {
	g := newGround(t)
	a := g.start(g.settings)
	g.waits("for the API server to tell of node n1")
	g.node(nil)
	g.waits("for spec.podCIDRs of node n1")
	g.node(both, g.Addr4.String())
	g.waits("for an InternalIP of family IPv6")
	g.node(both)
	a.ready()
	p, err := g.pod("p1")
	if err != nil {
		t.Fatal(err)
	}
	g.reaches(p)
}

// TestNodeChanges: an agent whose node becomes another begins anew; its
// next start has the new addresses, and pods keep theirs.
func TestNodeChanges(t *testing.T) {
	g := newGround(t)
	g.node(both)
	a := g.start(g.settings)
	a.ready()
	p, err := g.pod("p1")
	if err != nil {
		t.Fatal(err)
	}
	g.node(nil) // lacks what is needed: changes nothing
	g.Remove("/api/v1/nodes/n1")
	g.Run(t, "ip", "addr", "add", "192.168.78.77/24", "dev", "eth0")
	g.node(both, "192.168.78.77", g.Addr6.String())
	a.ends("node n1 has now PodCIDRs [10.99.1.0/24 fd99:1::/64], addresses [192.168.78.77 fd78::1]", "must begin anew")
	g.reaches(p)
	g.start(g.settings).ready()
	g.reaches(p)
}

// TestExhausted: without a free address a pod does not start, and is told why;
// one that ends makes room.
func TestExhausted(t *testing.T) {
	g := newGround(t)
	g.node([]any{"10.99.1.0/29"})
	g.start(g.settings).ready()
	for _, name := range []string{"p1", "p2", "p3", "p4"} {
		if _, err := g.pod(name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := g.pod("p5"); err == nil || !strings.Contains(err.Error(), "no free IPv4 address: PodCIDR 10.99.1.0/29: 4 of 4 in use") {
		t.Errorf("a pod too many: %v", err)
	}
	if _, err := g.plugin("DEL", "p2"); err != nil {
		t.Fatal(err)
	}
	p, err := g.pod("p5")
	if err != nil {
		t.Fatal(err)
	}
	g.reaches(p)
}

// TestRangeTooSmall for a pod.
func TestRangeTooSmall(t *testing.T) {
	g := newGround(t)
	g.node([]any{"10.99.1.0/30"})
	g.start(g.settings).ends("use spec.podCIDRs of node n1: PodCIDR 10.99.1.0/30: has 4 addresses")
}

// TestMissing: what a node must have is named when it has not, and an agent
// that finds it mended works.
func TestMissing(t *testing.T) {
	g := newGround(t)
	g.node(both)
	g.Run(t, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/eth0/send_redirects")
	for _, c := range []struct {
		what  string
		below []string
		spoil func(*settings)
		says  []string
	}{
		{"no bpffs", nil, func(s *settings) { s.BPFFS = "/tmp" }, []string{"/tmp is not on a bpf: mount -t bpf bpf /sys/fs/bpf"}},
		{"no cgroup2", nil, func(s *settings) { s.Cgroup = "/tmp" }, []string{"/tmp is not on a cgroup2: mount -t cgroup2 "}},
		{"old kernel", []string{"setarch", "--uname-2.6"}, func(*settings) {}, []string{"kernel 2.6.", "too old: Linux 6.10 or newer is needed, for tcx"}},
		{"no API server to be found", nil, func(s *settings) { s.Kubeconfig = "/nothing/there" }, []string{"read kubeconfig /nothing/there"}},
		// Last: so it shows that the others have left the node as it was.
		{"sysctls are refused", []string{"unshare", "-m", "sh", "-c", `mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && exec "$0"`},
			func(*settings) {}, []string{"prepare the node's network: ", `sysctl net.ipv4.conf.eth0.send_redirects: want "0", found "1": read-only file system`}},
	} {
		s := g.settings
		c.spoil(&s)
		t.Log(c.what)
		g.start(s, c.below...).ends(c.says...)
	}
	g.start(g.settings).ready()
	p, err := g.pod("p1")
	if err != nil {
		t.Fatal(err)
	}
	g.reaches(p)
}

// TestTwoAgents on a node: one writes. The other takes over when that is told
// to stop, as in a rollout, and when it is killed; pods do not notice.
func TestTwoAgents(t *testing.T) {
	g := newGround(t)
	g.node(both)
	first := g.start(g.settings)
	first.ready()
	p, err := g.pod("p1")
	if err != nil {
		t.Fatal(err)
	}
	second := g.start(g.settings)
	for !strings.Contains(second.said.String(), "another agent has the node; waiting until it ends") {
		select {
		case <-second.ended:
			t.Fatalf("the second ended with %v", second.status)
		default:
		}
	}
	first.ready() // still
	first.stop()
	second.ready()
	g.reaches(p)
	third := g.start(g.settings)
	second.kill()
	if code := codeOf(g.waitFor("p2")); code != 0 {
		t.Errorf("between two agents a pod gets code %d", code)
	}
	third.ready()
	g.reaches(p)
	if _, err := g.plugin("CHECK", "p1"); err != nil {
		t.Errorf("check: %v", err)
	}
}

// waitFor adds a pod as the kubelet does: again, while that is asked for.
func (g *ground) waitFor(name string) (err error) {
	for range 10 {
		if _, err = g.pod(name); codeOf(err) != types.ErrTryAgainLater {
			break
		}
	}
	return err
}

// TestMalformedSlices: what the API server should never have taken does not
// touch its neighbours, and is well again when it is mended.
func TestMalformedSlices(t *testing.T) {
	g := newGround(t)
	g.node(both)
	service := func(name, ip string) {
		g.Put("/api/v1/namespaces/default/services/"+name, kubetest.Object{"spec": kubetest.Object{
			"clusterIP": ip, "clusterIPs": []any{ip}, "ports": []any{kubetest.Object{"port": 80, "protocol": "TCP"}}}})
	}
	slice := func(name string, ports, endpoints any) {
		g.Put("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/"+name, kubetest.Object{
			"metadata":    kubetest.Object{"labels": kubetest.Object{"kubernetes.io/service-name": name}},
			"addressType": "IPv4", "ports": ports, "endpoints": endpoints})
	}
	address := func(a string) []any { return []any{kubetest.Object{"addresses": []any{a}}} }
	service("good", "10.96.0.1")
	service("bad", "10.96.0.2")
	slice("good", []any{kubetest.Object{"port": 8080}}, address("10.99.1.9"))
	slice("bad", []any{kubetest.Object{"port": 808080}, kubetest.Object{}, kubetest.Object{"name": strings.Repeat("x", 4000)}},
		append(address("no address"), address("")...))
	a := g.start(g.settings)
	a.ready()
	g.serves("10.96.0.1:80/TCP", "10.99.1.9:8080")
	g.serves("10.96.0.2:80/TCP")

	// What cannot even be read stops its kind, and that shows.
	slice("bad", "ports should be a list", nil)
	g.Disconnect()
	g.until("it shows", func(s *Status) bool {
		for _, k := range s.Kinds {
			if k.Kind == "EndpointSlice" && k.Error != "" {
				return true
			}
		}
		return false
	})
	g.serves("10.96.0.1:80/TCP", "10.99.1.9:8080")
	slice("bad", []any{kubetest.Object{"port": 8080}}, address("10.99.1.8"))
	g.serves("10.96.0.2:80/TCP", "10.99.1.8:8080")
	g.until("all is well", (*Status).OK)
}
