package datapath_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/reconcile"
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

// A full map refuses, says which it is, and takes up again when there is room.
func TestFullMap(t *testing.T) {
	g := nodes.New(t)
	n := g.Nodes[0]
	var path *datapath.Node
	n.Do(t, func() (err error) {
		path, err = datapath.Open(datapath.Options{
			BPFFS: n.BPFFS, Cgroup: n.Root, Uplink: "eth0", Sizes: datapath.Sizes{Policy: 2, Identities: 2, Endpoints: 2},
		})
		return err
	})
	t.Cleanup(func() { path.Close() })
	ctx, verdicts := context.Background(), path.Verdicts()
	row := func(port uint16) model.Verdict {
		return model.Verdict{Endpoint: 1, Port: port, Protocol: model.TCP, Action: model.Deny}
	}
	for port := range uint16(2) {
		if _, err := verdicts.Update(ctx, row(port+1)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := verdicts.Update(ctx, row(3)); err == nil || !strings.Contains(err.Error(), "verdict of endpoint 1") {
		t.Errorf("a third verdict in a map of two: %v", err)
	}
	if err := verdicts.Delete(ctx, row(1).Key()); err != nil {
		t.Fatal(err)
	}
	if _, err := verdicts.Update(ctx, row(3)); err != nil {
		t.Errorf("where there is room again: %v", err)
	}
	infos, err := path.Reader().Maps()
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		if info.Name == "policy" && (info.Entries != 2 || info.Limit != 2) {
			t.Errorf("policy has %d of %d entries, want 2 of 2", info.Entries, info.Limit)
		}
	}
}

// flaky fails once in three times, before or after the work.
type flaky[T flow.Row] struct {
	reconcile.Output[T, struct{}]
	calls int
}

var errFlaky = errors.New("the world refuses")

func (f *flaky[T]) Update(ctx context.Context, row T) (struct{}, error) {
	f.calls++
	if f.calls%6 == 1 {
		return struct{}{}, errFlaky
	}
	_, err := f.Output.Update(ctx, row)
	if f.calls%6 == 4 {
		err = errFlaky
	}
	return struct{}{}, err
}

func (f *flaky[T]) Delete(ctx context.Context, key string) error {
	f.calls++
	if f.calls%3 == 1 {
		return errFlaky
	}
	return f.Output.Delete(ctx, key)
}

func (f *flaky[T]) Prune(ctx context.Context, keys []string) error {
	f.calls++
	if f.calls%2 == 1 {
		return errFlaky
	}
	return f.Output.Prune(ctx, keys)
}

// settle runs a loop over rows of which those that gone names are deleted
// again, until nothing is left to do.
func settle[T flow.Row](t *testing.T, output reconcile.Output[T, struct{}], rows []T, gone ...string) {
	t.Helper()
	left := map[string]bool{}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	loop := reconcile.New(&flaky[T]{Output: output}, slog.New(slog.DiscardHandler), func(o reconcile.Outcome[struct{}]) {
		if o.Err == nil {
			delete(left, o.RowKey)
		}
		if len(left) == 0 {
			cancel()
		}
	})
	var changes []flow.Change[T]
	for _, row := range rows {
		left[row.Key()] = true
		changes = append(changes, flow.Change[T]{Key: row.Key(), New: row, HasNew: true})
	}
	for _, key := range gone {
		left[key] = true
		changes = append(changes, flow.Change[T]{Key: key})
	}
	loop.Changed(changes)
	loop.Synced()
	loop.Run(ctx)
}

// Whatever an earlier agent left and whatever fails: the maps become like the
// rows.
func TestOutputs(t *testing.T) {
	g := nodes.New(t)
	n := g.Nodes[0]
	set := func(name string, backends ...string) model.BackendSet {
		row := model.BackendSet{Service: model.Name{Namespace: "x", Name: name}, Port: 80, Protocol: model.TCP, Family: model.IPv4}
		for _, b := range backends {
			row.Backends = append(row.Backends, netip.MustParseAddrPort(b))
		}
		return row
	}
	frontend := func(at string, kind model.FrontendKind, set model.BackendSet) model.Frontend {
		row := model.Frontend{Address: netip.MustParseAddrPort(at), Protocol: model.TCP, Kind: kind, Service: set.Service, Port: 80, Internal: set.Key()}
		if kind != model.ClusterIP {
			row.External = set.Key()
		}
		return row
	}
	one, two, three := set("one", "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"), set("two", "10.0.0.9:90"), set("three")
	path := openNodeOnly(t, n)
	settle(t, path.BackendSets(), []model.BackendSet{one, two})
	settle(t, path.Frontends(), []model.Frontend{
		frontend("10.96.0.1:80", model.ClusterIP, one), frontend("10.96.0.2:80", model.ClusterIP, two), frontend("0.0.0.0:30001", model.NodePort, two),
	})
	want := []string{
		"0.0.0.0:30001/TCP external = x/two:80 set 2 [NodePort]", "0.0.0.0:30001/TCP internal = x/two:80 set 2 [NodePort]",
		"10.96.0.1:80/TCP internal = x/one:80 set 1 [ClusterIP]", "10.96.0.2:80/TCP internal = x/two:80 set 2 [ClusterIP]",
		"192.168.78.1:30001/TCP external = x/two:80 set 2 [NodePort]", "192.168.78.1:30001/TCP internal = x/two:80 set 2 [NodePort]",
	}
	if got := rowsOf(t, path, "frontends"); !slices.Equal(got, want) {
		t.Errorf("frontends:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	path.Close()

	path = openNodeOnly(t, n)
	one = set("one", "10.0.0.3:80", "10.0.0.4:80") // 3 was at slot 2 and has to move
	redirected := model.Frontend{Address: netip.MustParseAddrPort("10.96.0.3:80"), Protocol: model.TCP, Kind: model.ClusterIP, Service: one.Service, Port: 80, Internal: one.Key(), Redirect: "listener"}
	settle(t, path.BackendSets(), []model.BackendSet{one, three}) // two is still referred to
	settle(t, path.Frontends(), []model.Frontend{frontend("10.96.0.1:80", model.ClusterIP, one), redirected}, "gone")
	want = []string{
		"10.96.0.1:80/TCP internal = x/one:80 set 1 [ClusterIP]",
		"10.96.0.3:80/TCP internal = x/one:80 set 1 [ClusterIP,l7-load-balancer,reject] (L7LB Proxy Port: 0)",
	}
	if got := rowsOf(t, path, "frontends"); !slices.Equal(got, want) {
		t.Errorf("frontends:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got, want := rowsOf(t, path, "backends"), []string{"1 (0) = 10.0.0.3:80/TCP", "1 (1) = 10.0.0.4:80/TCP"}; !slices.Equal(got, want) {
		t.Errorf("backends %v, want %v", got, want)
	}
	if err := path.SetListeners(map[string]uint16{"listener": 7}); err != nil {
		t.Fatal(err)
	}
	if got, want := rowsOf(t, path, "frontends")[1], "10.96.0.3:80/TCP internal = x/one:80 set 1 [ClusterIP,l7-load-balancer] (L7LB Proxy Port: 7)"; got != want {
		t.Errorf("a live listener: %s, want %s", got, want)
	}
	settle(t, path.Frontends(), nil, redirected.Key(), frontend("10.96.0.1:80", model.ClusterIP, one).Key())
	settle(t, path.BackendSets(), nil, one.Key(), three.Key())
	for _, table := range []string{"frontends", "backends", "sets", "names"} {
		if got := rowsOf(t, path, table); len(got) > 0 {
			t.Errorf("%s left: %v", table, got)
		}
	}
}
