package l4

import (
	"net/netip"

	"github.com/waggle-mesh/waggle/test/bench/load"
	"github.com/waggle-mesh/waggle/test/bench/world"
)

// Kinds of worlds.
const (
	plain     = "plain"      // veths and routes, nothing else
	waggle    = "Waggle"     // the data path
	kubeProxy = "kube-proxy" // in nftables mode
)

// Kinds are all.
var Kinds = []string{plain, waggle, kubeProxy}

// way is from a client to a server.
type way struct {
	name    string
	short   string // for the command line
	outside bool   // from the client's machine, else from pod a
	service service
	port    func(s service, port uint16) uint16
	address func(w *world.World, s service, family int) netip.Addr
	direct  bool // to the pod itself
}

func toPod(w *world.World, s service, family int) netip.Addr       { return s.backend(w).Addr(family) }
func toClusterIP(_ *world.World, s service, family int) netip.Addr { return s.address(family) }
func toFirstNode(w *world.World, _ service, family int) netip.Addr { return w.Nodes[0].Addr(family) }
func samePort(_ service, port uint16) uint16                       { return port }
func nodePort(s service, port uint16) uint16                       { return s.nodePorts[port] }

var ways = []way{
	{"pod to pod, same node", "same", false, nearby, samePort, toPod, true},
	{"pod to pod, other node", "other", false, remote, samePort, toPod, true},
	{"pod to ClusterIP, backend on the same node", "clusterip", false, nearby, samePort, toClusterIP, false},
	{"outside to NodePort, backend on that node", "nodeport", true, nearby, nodePort, toFirstNode, false},
	{"outside to NodePort, backend on the other node", "nodeport-other", true, remote, nodePort, toFirstNode, false},
}

// Ways are the short names of all.
var Ways = []string{"same", "other", "clusterip", "nodeport", "nodeport-other"}

func (y way) client(w *world.World) *load.Client {
	if y.outside {
		return w.Outside
	}
	return w.InPod
}

// target is where the client connects to. A plain world knows no Services:
// there it is the pod, by the same nodes.
func (y way) target(w *world.World, kind string, family int, port uint16) netip.AddrPort {
	if kind == plain {
		return netip.AddrPortFrom(toPod(w, y.service, family), port)
	}
	return netip.AddrPortFrom(y.address(w, y.service, family), y.port(y.service, port))
}
