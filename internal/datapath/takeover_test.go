package datapath_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/test/nodes"
)

// loads starts all kinds of clients of a Service; the function that it returns
// ends them and fails if a request did.
func (l *lab) loads(t *testing.T, s service) (end func()) {
	t.Helper()
	l.route(s.address(97, 4), l.Nodes[0])
	var running []*nodes.Load
	start := func(m *nodes.Machine, name string, at netip.AddrPort, connect bool) {
		running = append(running, m.StartLoad(t, nodes.LoadRequest{
			Name: name, URL: "http://" + at.String() + "/", Method: "POST", Clients: 2, Rate: 100, Connect: connect,
		}))
	}
	for name, connect := range map[string]bool{"kept": false, "new": true} {
		start(&l.a.Machine, name+"4", netip.AddrPortFrom(s.address(96, 4), 80), connect)
		start(&l.a.Machine, name+"6", netip.AddrPortFrom(s.address(96, 6), 80), connect)
		start(&l.a.Machine, name+"world", netip.AddrPortFrom(l.Client.Addr4, 8080), connect)
		start(l.Client, name+"port", netip.AddrPortFrom(l.Nodes[0].Addr4, s.nodePort), connect)
		start(l.Client, name+"vip", netip.AddrPortFrom(s.address(97, 4), 80), connect)
	}
	return func() {
		t.Helper()
		total := 0
		for _, load := range running {
			r := load.Stop(t)
			total += r.Requests
			if len(r.Failed) > 0 {
				t.Error(r)
			}
		}
		t.Logf("%d requests", total)
		if total < 100 {
			t.Errorf("only %d requests were made", total)
		}
	}
}

func rowsOf(t *testing.T, n *datapath.Node, table string) []string {
	t.Helper()
	rows, err := n.Reader().Rows(table)
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, r := range rows {
		text = append(text, r.Key+" = "+r.Value)
	}
	return text
}

// A new agent takes over programs and maps without a request being lost, and
// finds the numbers of what has a name.
func TestTakeOver(t *testing.T) {
	l := newLab(t, true)
	s := service{host: 1, nodePort: 30080, backends: []nodes.Machine{l.b.Machine, l.d.Machine}}
	l.serve(s)
	end := l.loads(t, s)
	for range 5 {
		before := map[string][]string{}
		tables := []string{"frontends", "sets", "backends", "endpoints", "ipcache", "names"}
		for _, table := range tables {
			before[table] = rowsOf(t, l.paths[0], table)
		}
		l.paths[0].Close()
		l.paths[0] = openNode(t, l.Nodes[0], l.Nodes[0].Root)
		l.learn(0)
		l.serve(s)
		for _, table := range tables {
			if after := rowsOf(t, l.paths[0], table); !slices.Equal(after, before[table]) {
				t.Errorf("%s changed from\n%s\nto\n%s", table, strings.Join(before[table], "\n"), strings.Join(after, "\n"))
			}
		}
	}
	end()
}

// upgrade opens the first node's data path with maps of other sizes, which are
// in use after Commit.
func (l *lab) upgrade(t *testing.T, sizes datapath.Sizes) {
	t.Helper()
	l.paths[0].Close()
	node := l.Nodes[0]
	var path *datapath.Node
	node.Do(t, func() (err error) {
		path, err = datapath.Open(datapath.Options{
			BPFFS: node.BPFFS, Cgroup: node.Root, Uplink: "eth0", IPv4: node.Addr4, IPv6: node.Addr6, Sizes: sizes,
		})
		return err
	})
	l.paths[0] = path
	t.Cleanup(func() { path.Close() })
}

// Maps of rows change their layout; connections go on, those that are translated,
// too.
func TestUpgrades(t *testing.T) {
	l := newLab(t, true)
	s := service{host: 1, nodePort: 30080, backends: []nodes.Machine{l.b.Machine, l.d.Machine}}
	l.serve(s)
	end := l.loads(t, s)
	for i := range uint32(20) {
		l.upgrade(t, datapath.Sizes{Frontends: 1000 + i})
		l.learn(0)
		l.serve(s)
		l.Nodes[0].Do(t, l.paths[0].Commit)
	}
	end()
}

// A larger table of connections begins with those of the smaller one.
func TestConntrackGrows(t *testing.T) {
	l := newLab(t, true)
	s := service{host: 1, nodePort: 30080, backends: []nodes.Machine{l.b.Machine}}
	l.serve(s)
	b := bench{lab: l, service: netip.AddrPortFrom(s.address(96, 4), 80), family: 4}
	b.passes(t, "SYN", b.a, tcp(b.at(b.a, 40000), b.service, syn))
	l.upgrade(t, datapath.Sizes{Conntrack: 65536})
	l.learn(0)
	l.serve(s)
	l.Nodes[0].Do(t, l.paths[0].Commit)
	if got := b.passes(t, "the answer", b.b, tcp(b.at(b.b, 8080), b.at(b.a, 40000), syn|ack)); got.src != b.service {
		t.Errorf("the answer comes from %s, want %s", got.src, b.service)
	}
	states, err := filepath.Glob(filepath.Join(l.Nodes[0].BPFFS, "waggle", "state", "conntrack-*"))
	if err != nil || len(states) != 1 {
		t.Errorf("the connections are in %v %v, want one map", states, err)
	}
}

// Maps of another layout are filled before programs that use them take over.
func TestOtherLayout(t *testing.T) {
	l := newLab(t, true)
	s := service{host: 1, nodePort: 30080, backends: []nodes.Machine{l.b.Machine, l.d.Machine}}
	l.serve(s)
	node := l.Nodes[0]
	folders := func() []string {
		found, err := filepath.Glob(filepath.Join(node.BPFFS, "waggle", "maps-*"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	first := folders()
	l.upgrade(t, datapath.Sizes{Frontends: 1000, Endpoints: 100})
	if got := folders(); len(got) != 2 {
		t.Fatalf("maps are in %v, want the old ones and new ones", got)
	}
	at := netip.AddrPortFrom(s.address(96, 4), 80)
	ask(t, &l.a.Machine, at) // by the old programs
	l.learn(0)
	l.serve(s)
	node.Do(t, l.paths[0].Commit)
	if got := folders(); len(got) != 1 || slices.Equal(got, first) {
		t.Errorf("maps are in %v, want new ones alone", got)
	}
	l.reachesAll(t, &l.a.Machine, at, netip.Addr{})
	if got := rowsOf(t, l.paths[0], "connected"); len(got) == 0 {
		t.Error("the new maps are not used")
	}
}

// Nothing is left, and the node is as it was before.
func TestCleanup(t *testing.T) {
	l := newLab(t, true)
	s := service{host: 1, nodePort: 30080, backends: []nodes.Machine{l.b.Machine}}
	l.serve(s)
	at := netip.AddrPortFrom(s.address(96, 4), 80)
	ask(t, &l.a.Machine, at)
	l.paths[0].Close()
	for range 2 {
		if err := datapath.Cleanup(l.Nodes[0].BPFFS); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(l.Nodes[0].BPFFS, "waggle")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left: %v", err)
	}
	if r := l.a.Dial(t, nodes.DialRequest{Address: at.String(), Timeout: 300e6}); r.Error == "" {
		t.Error("the Service still answers")
	}
	ask(t, &l.a.Machine, netip.AddrPortFrom(l.b.Addr4, 8080))
}

// Pods that are gone, and devices that were never there, are no obstacle.
func TestPodsComeAndGo(t *testing.T) {
	l := newLab(t, true)
	node, path := l.Nodes[0], l.paths[0]
	p := node.AddPod(t, "short")
	node.Do(t, func() error { return path.AttachPod(p.Index) })
	node.Do(t, func() error { return path.AttachPod(p.Index) })
	node.Run(t, "ip", "link", "del", p.Interface)
	path.Close()
	l.paths[0] = openNodeOnly(t, node)
	node.Do(t, func() error { return l.paths[0].DetachPod(p.Index) })
	node.Do(t, func() error { return l.paths[0].DetachPod(99999) })
	pods, err := l.paths[0].Pods()
	slices.Sort(pods)
	if want := []int{l.a.Index, l.b.Index}; err != nil || !slices.Equal(pods, want) {
		t.Errorf("pods %v %v, want %v", pods, err, want)
	}
	node.Do(t, func() error {
		if err := l.paths[0].AttachPod(99999); err == nil {
			t.Error("a device that is not there was attached to")
		}
		return nil
	})
}

func openNodeOnly(t *testing.T, n *nodes.Node) *datapath.Node {
	t.Helper()
	var path *datapath.Node
	n.Do(t, func() (err error) {
		path, err = datapath.Open(datapath.Options{BPFFS: n.BPFFS, Cgroup: n.Root, Uplink: "eth0", IPv4: n.Addr4, IPv6: n.Addr6})
		return err
	})
	t.Cleanup(func() { path.Close() })
	return path
}
