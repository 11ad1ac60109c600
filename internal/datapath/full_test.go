package datapath_test

import (
	"net/netip"
	"testing"

	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/test/nodes"
)

// A pod one of whose denials has no room lets nobody in, also after another
// agent has come, until there is room.
func TestNoRoomForDenial(t *testing.T) {
	l := newSmallLab(t, datapath.Sizes{Policy: 1})
	b := bench{lab: l, family: 4}
	ctx := t.Context()
	deny := func(id model.Identity) model.Verdict {
		return model.Verdict{Endpoint: endpointOf(l.b, idB).ID, Direction: model.Ingress, Identity: id, Action: model.Deny}
	}
	other := model.Verdict{Endpoint: endpointOf(l.b, idB).ID, Direction: model.Ingress, Identity: 7777, Action: model.Allow}
	known := func(what string, reason uint8) {
		t.Helper()
		for _, p := range []ip{tcp(b.at(b.a, 40000), b.at(b.b, 8080), ack), tcp(b.at(b.a, 40001), b.at(b.b, 8080), syn)} {
			if _, _, got := b.run(t, "from_pod", b.a.Index, p); got != reason {
				t.Errorf("%s: reason %d, want %d", what, got, reason)
			}
		}
		b.passes(t, what+", the other direction", b.b, tcp(b.at(b.b, 40000), b.at(b.a, 8080), syn))
	}
	refused := func(v model.Verdict) {
		t.Helper()
		if _, err := l.paths[0].Verdicts().Update(ctx, v); err == nil {
			t.Errorf("%+v has room", v)
		}
	}
	b.passes(t, "SYN", b.a, tcp(b.at(b.a, 40000), b.at(b.b, 8080), syn))
	l.must(l.paths[0].Verdicts().Update(ctx, deny(8888)))
	refused(other)
	known("without room for what allows", 0)
	refused(deny(9999))
	known("without room for a denial", 133)

	l.paths[0].Close()
	n := l.Nodes[0]
	n.Do(t, func() (err error) {
		l.paths[0], err = datapath.Open(datapath.Options{
			BPFFS: n.BPFFS, Cgroup: n.Root, Uplink: "eth0", IPv4: n.Addr4, IPv6: n.Addr6, Sizes: datapath.Sizes{Policy: 1},
		})
		return err
	})
	l.must(l.paths[0].Endpoints().Update(ctx, endpointOf(l.b, idB)))
	known("with another agent", 133)
	refused(deny(9999))
	if err := l.paths[0].Commit(); err != nil {
		t.Fatal(err)
	}
	known("when that has tried all", 133)
	if err := l.paths[0].Verdicts().Delete(ctx, deny(8888).Key()); err != nil {
		t.Fatal(err)
	}
	l.must(l.paths[0].Verdicts().Update(ctx, deny(9999)))
	known("when there is room", 0)

	refused(deny(8888))
	known("without room again", 133)
	if err := l.paths[0].Verdicts().Delete(ctx, deny(8888).Key()); err != nil {
		t.Fatal(err)
	}
	known("when nobody denies any more", 0)
}

// A Service that has no room, or whose backends have none, is refused at once: it
// is not asked in the world.
func TestNoRoomForService(t *testing.T) {
	for what, sizes := range map[string]datapath.Sizes{"frontends": {Frontends: 1}, "sets": {Sets: 1}, "backends": {Backends: 1}} {
		l := newSmallLab(t, sizes)
		b := bench{lab: l, family: 4}
		var rows []model.Frontend
		for i := range byte(2) {
			s := service{host: i, backends: []nodes.Machine{l.b.Machine}}
			set := model.BackendSet{
				Service: model.Name{Namespace: "test", Name: string('a' + rune(i))}, Port: 80, Protocol: model.TCP, Family: model.IPv4,
				Backends: []netip.AddrPort{b.at(l.b, 8080)},
			}
			_, err1 := l.paths[0].BackendSets().Update(t.Context(), set)
			row := model.Frontend{
				Address: netip.AddrPortFrom(s.address(96, 4), 80), Protocol: model.TCP, Kind: model.ClusterIP, Service: set.Service, Port: 80, Internal: set.Key(),
			}
			_, err2 := l.paths[0].Frontends().Update(t.Context(), row)
			if fits, want := err1 == nil && err2 == nil, i == 0; fits != want {
				t.Fatalf("%s: Service %d fits: %t, want %t", what, i, fits, want)
			}
			rows = append(rows, row)
		}
		asks := func(when string, i int, want uint8, answer int32) {
			t.Helper()
			got, _, reason := b.run(t, "from_pod", b.a.Index, tcp(b.at(b.a, 40000), rows[i].Address, syn))
			if got != answer || reason != want {
				t.Errorf("%s, Service %d %s: answer %d, reason %d, want %d, %d", what, i, when, got, reason, answer, want)
			}
		}
		asks("that has room", 0, 0, datapath.Redirect)
		asks("without room", 1, 158, datapath.Redirect)
		if err := l.paths[0].Frontends().Delete(t.Context(), rows[1].Key()); err != nil {
			t.Fatal(err)
		}
		asks("that is gone", 1, 0, datapath.Next)
		asks("that has room", 0, 0, datapath.Redirect)
	}
}
