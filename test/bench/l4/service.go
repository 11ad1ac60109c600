package l4

import (
	"context"
	"net/netip"
	"testing"

	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/test/bench/load"
	"github.com/waggle-mesh/waggle/test/bench/world"
	"github.com/waggle-mesh/waggle/test/nodes"
)

// service is one with a single backend, so that the way is always the same.
type service struct {
	name      string
	host      byte              // of its address in 10.96.0.0/16 and fd96::/64
	nodePorts map[uint16]uint16 // by port
	backend   func(*world.World) *nodes.Pod
}

// near and far are the Services' backends, as seen from the first node.
func near(w *world.World) *nodes.Pod { return w.B }
func far(w *world.World) *nodes.Pod  { return w.D }

var (
	nearby = service{"near", 10, map[uint16]uint16{load.Port: 30080, load.StreamPort: 30081}, near}
	remote = service{"far", 20, map[uint16]uint16{load.Port: 30090, load.StreamPort: 30091}, far}
)

// services are all there are.
func services() []service { return []service{nearby, remote} }

var families = []int{4, 6}

const virtual = 96 // network of Services' addresses

func (s service) address(family int) netip.Addr { return world.Address(family, virtual, s.host) }

// write tells a node of Waggle's of the Service.
func (s service) write(t testing.TB, w *world.World, n *world.Node) {
	ctx := context.Background()
	for _, family := range families {
		for port, nodePort := range s.nodePorts {
			set := model.BackendSet{
				Service: model.Name{Namespace: "bench", Name: s.name}, Port: port, Protocol: model.TCP, Family: model.IPv4,
				Backends: []netip.AddrPort{netip.AddrPortFrom(s.backend(w).Addr(family), port)},
			}
			any := netip.IPv4Unspecified()
			if family == 6 {
				set.Family, any = model.IPv6, netip.IPv6Unspecified()
			}
			n.Must(n.Path.BackendSets().Update(ctx, set))
			row := model.Frontend{Protocol: model.TCP, Service: set.Service, Port: port, Internal: set.Key()}
			row.Kind, row.Address = model.ClusterIP, netip.AddrPortFrom(s.address(family), port)
			n.Must(n.Path.Frontends().Update(ctx, row))
			row.External = set.Key()
			row.Kind, row.Address = model.NodePort, netip.AddrPortFrom(any, nodePort)
			n.Must(n.Path.Frontends().Update(ctx, row))
		}
	}
}
