package datapath_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/reconcile"
	"github.com/waggle-mesh/waggle/test/nodes"
)

// A full map refuses, says which it is, and takes up again when there is room.
func TestFullMap(t *testing.T) {
	g := nodes.New(t)
	n := g.Nodes[0]
	var path *datapath.Node
	n.Do(t, func() (err error) {
		path, err = datapath.Open(datapath.Options{
			BPFFS: n.BPFFS, Cgroup: n.Root, Uplink: "eth0", Sizes: datapath.Sizes{Policy: 2, Identities: 2, Endpoints: 2, Frontends: 3, Sets: 5},
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
		if info.Name == "vips" && info.Limit != 6 { // a frontend needs at most one, whether it has room or not
			t.Errorf("vips has room for %d, want twice as much as frontends, 6", info.Limit)
		}
		if info.Name == "names" && info.Limit != 3+5+2 { // of Services, sets and rules
			t.Errorf("names has room for %d, want as much as frontends, sets and policy, 10", info.Limit)
		}
	}
}

// What could not be written is written by the next try, and counted once.
func TestWriteAgain(t *testing.T) {
	path, ctx := openNodeOnly(t, nodes.New(t).Nodes[0]), context.Background()
	set := model.BackendSet{Service: model.Name{Namespace: "x", Name: "one"}, Port: 80, Protocol: model.TCP, Family: model.IPv4}
	row := model.Frontend{Address: netip.MustParseAddrPort("10.96.0.3:80"), Protocol: model.TCP, Kind: model.ClusterIP, Service: set.Service, Port: 80, Internal: set.Key(), Redirect: "listener"}
	want := func(what, table string, want ...string) {
		t.Helper()
		if got := rowsOf(t, path, table); !slices.Equal(got, want) {
			t.Errorf("%s: %s has %q, want %q", what, table, got, want)
		}
	}
	if _, err := path.BackendSets().Update(ctx, set); err != nil {
		t.Fatal(err)
	}
	for _, broken := range []string{"vips", "frontends"} {
		mend := path.Break(t, broken)
		if _, err := path.Frontends().Update(ctx, row); err == nil {
			t.Errorf("%s: what is not written is no error", broken)
		}
		mend()
	}
	want("not written, but closed", "vips", "10.96.0.3 = 1 frontends")
	if _, err := path.Frontends().Update(ctx, row); err != nil {
		t.Fatal(err)
	}
	want("written", "vips", "10.96.0.3 = 1 frontends")

	mend := path.Break(t, "frontends")
	if err := path.SetListeners(map[string]uint16{"listener": 7}); err == nil {
		t.Error("a listener that the map is not told of is no error")
	}
	mend()
	for range 2 {
		if err := path.SetListeners(map[string]uint16{"listener": 7}); err != nil {
			t.Fatal(err)
		}
		want("told again", "frontends", "10.96.0.3:80/TCP internal = x/one:80 set 1 [ClusterIP,l7-load-balancer] (L7LB Proxy Port: 7)")
	}
	if err := path.Frontends().Delete(ctx, row.Key()); err != nil {
		t.Fatal(err)
	}
	if err := path.BackendSets().Delete(ctx, set.Key()); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"frontends", "sets", "vips", "names"} {
		want("all is gone", table)
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
