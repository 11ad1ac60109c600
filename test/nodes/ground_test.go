package nodes

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m.Run) }

func url(a netip.Addr, path string) string {
	return "http://" + net.JoinHostPort(a.String(), "80") + path
}

// TestGround: everybody reaches everybody, in both families, with the address
// that the ground says.
func TestGround(t *testing.T) {
	g := New(t)
	a, b := g.Nodes[0].AddPod(t, "a"), g.Nodes[0].AddPod(t, "b")
	d := g.Nodes[1].AddPod(t, "d")
	for _, p := range []*Pod{b, d} {
		p.Serve(t, ServeRequest{Address: ":80"})
		p.ServeUDP(t, ":53")
	}
	for _, family := range []int{4, 6} {
		for _, client := range []*Machine{&a.Machine, &b.Machine, &d.Machine, &g.Nodes[0].Machine} {
			for _, server := range []*Pod{b, d} {
				r := client.Get(t, url(server.Addr(family), "/"))
				if r.Error != "" || r.Echo.Server != server.Name {
					t.Errorf("%s to %s, IPv%d: %+v", client.Name, server.Name, family, r)
				}
			}
		}
		r := a.Get(t, url(d.Addr(family), "/"))
		if peer := netip.MustParseAddrPort(r.Echo.Peer).Addr(); peer != a.Addr(family) {
			t.Errorf("d sees %s, want %s", peer, a.Addr(family))
		}
		ask := UDPRequest{Address: net.JoinHostPort(d.Addr(family).String(), "53"), Payload: "hello"}
		if r := a.AskUDP(t, ask); !strings.HasPrefix(r.Answer, "d ") || !strings.HasSuffix(r.Answer, " hello") {
			t.Errorf("UDP, IPv%d: %+v", family, r)
		}
		if r := g.Client.Dial(t, DialRequest{Address: net.JoinHostPort(g.Nodes[1].Addr(family).String(), "81")}); !r.Refused {
			t.Errorf("the client is not refused at node n2, IPv%d: %+v", family, r)
		}
	}
}

// TestLoadRecordsFailures: nothing that fails is lost.
func TestLoadRecordsFailures(t *testing.T) {
	g := New(t)
	a, b := g.Nodes[0].AddPod(t, "a"), g.Nodes[0].AddPod(t, "b")
	b.Serve(t, ServeRequest{Address: ":80"})
	good := a.StartLoad(t, LoadRequest{Name: "good", URL: url(b.Addr4, "/"), Clients: 2, Rate: 100})
	streams := a.StartLoad(t, LoadRequest{Name: "streams", URL: url(b.Addr6, "/?stream=300ms"), Clients: 1})
	bad := a.StartLoad(t, LoadRequest{Name: "bad", URL: "http://" + net.JoinHostPort(b.Addr4.String(), "81"), Clients: 1, Rate: 50})
	time.Sleep(500 * time.Millisecond)
	if r := good.Stop(t); r.Requests < 10 || len(r.Failed) > 0 {
		t.Error(r)
	}
	if r := streams.Stop(t); r.Requests < 1 || len(r.Failed) > 0 || r.Slowest < 300*time.Millisecond {
		t.Error(r)
	}
	if r := bad.Stop(t); r.Requests < 5 || len(r.Failed) != r.Requests {
		t.Error(r)
	}
}

// TestClear: what a killed process has left is gone after the next New, and
// what lives stays.
func TestClear(t *testing.T) {
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	old := fmt.Sprintf("waggle%d-1", gone.Process.Pid)
	cgroup, err := cgroup2()
	if err != nil {
		t.Fatal(err)
	}
	ns, err := newNamespace(old + "-n1")
	if err != nil {
		t.Fatal(err)
	}
	defer ns.handle.Close()
	m := &Machine{Name: "n1", ns: ns}
	sleeper := exec.Command("sleep", "600")
	if err := m.Start(sleeper, filepath.Join(cgroup, old, "n1", "host")); err != nil {
		t.Fatal(err)
	}
	living := New(t)
	if state, err := sleeper.Process.Wait(); err != nil || state.Success() {
		t.Errorf("the process of a ground that is gone: %v, %v", state, err)
	}
	for _, path := range []string{filepath.Join(cgroup, old), filepath.Join(namespaces, ns.name)} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
	New(t)
	if _, err := os.Stat(living.Nodes[0].Namespace()); err != nil {
		t.Error(err)
	}
}
