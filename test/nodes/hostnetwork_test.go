package nodes

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
)

// TestAgentHostNetwork: a Gateway's listener that is bound at the node's own
// addresses answers there, in both families, until the Gateway goes.
func TestAgentHostNetwork(t *testing.T) {
	const port = 8090
	n, a, _, _ := agentLab(t)
	table := n.hostNetworkGateway(port)
	n.gatewayHost(table, "cilium-gateway-gw.0", "a.example")
	n.startEnvoy()
	inBothFamilies(t, func(t *testing.T, family int) {
		at := netip.AddrPortFrom(n.Addr(family), port).String()
		for what, from := range map[string]*Machine{"the outside": n.ground.Client, "a pod": &a.Machine} {
			n.eventually("the Gateway answers "+what, func() bool {
				return from.Fetch(t, FetchRequest{URL: "http://" + at + "/", Host: "a.example"}).Status == 200
			})
			wantStatus(t, what+" as another host", from.Fetch(t, FetchRequest{URL: "http://" + at + "/", Host: "other"}), 404)
		}
	})
	n.delete("CiliumEnvoyConfig", "cilium-gateway-gw")
	n.eventually("nobody is there any more", func() bool {
		return n.ground.Client.Dial(t, DialRequest{Address: netip.AddrPortFrom(n.Addr(4), port).String()}).Refused
	})
}

// hostNetworkGateway files the listener of a Gateway that is bound at a port of
// the node, in both families, and gives the name of its table.
func (n *agentNode) hostNetworkGateway(port uint16) (table string) {
	n.t.Helper()
	gw := model.Name{Namespace: "default", Name: "gw"}
	l := model.Listener{Gateway: gw, Port: port, BindPort: port, Protocol: model.HTTP, Chains: []model.Chain{{Table: model.TableKey(gw, port, "")}}}
	n.generated("cilium-gateway-gw", nil, nil, nil,
		render.StoredListener(l, model.Clients{}, netip.IPv4Unspecified(), netip.IPv6Unspecified()))
	return l.Chains[0].Table
}

// TestHostPortInUse: a port of the node that somebody else has is told, for each
// family, and had when it is free.
func TestHostPortInUse(t *testing.T) {
	const port = 8090
	for network, at := range map[string]string{"tcp4": "0.0.0.0:8090", "tcp6": "[::]:8090"} {
		t.Run(network, func(t *testing.T) {
			n, _, _, _ := agentLab(t)
			var holder net.Listener
			n.must("hold the port", n.Within(func() (err error) {
				holder, err = net.Listen(network, at)
				return err
			}))
			defer holder.Close()
			n.gatewayHost(n.hostNetworkGateway(port), "cilium-gateway-gw.0", "a.example")
			n.startEnvoy()
			n.eventually("it is told that the port is in use", func() bool {
				_, rejected := n.envoySaid()
				return strings.Contains(rejected["cilium-gateway-gw"], "Address already in use")
			})
			n.must("let go of the port", holder.Close())
			inBothFamilies(t, func(t *testing.T, family int) {
				at := netip.AddrPortFrom(n.Addr(family), port).String()
				n.eventually("the Gateway answers", func() bool {
					return n.ground.Client.Fetch(t, FetchRequest{URL: "http://" + at + "/", Host: "a.example"}).Status == 200
				})
			})
			n.eventually("it is not told any more", func() bool {
				_, rejected := n.envoySaid()
				return rejected["cilium-gateway-gw"] == ""
			})
		})
	}
}
