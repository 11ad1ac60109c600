package nodes

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
)

// TestAgentHostNetwork: a Gateway's listener that is bound at the node's own
// addresses answers there, and by its Service, in both families, until the
// Gateway goes.
func TestAgentHostNetwork(t *testing.T) {
	const port = 8090
	n, a, _, _ := agentLab(t)
	table := n.hostNetworkGateway(port)
	n.gatewayHost(table, "cilium-gateway-gw.0", "a.example")
	n.hostNetworkService(port)
	n.startEnvoy()
	inBothFamilies(t, func(t *testing.T, family int) {
		service := netip.AddrPortFrom(pick(family, gatewayVIP4, gatewayVIP6), port).String()
		for what, from := range map[string]*Machine{"the node": &n.Machine, "a pod": &a.Machine} {
			n.eventually("the Gateway's Service answers "+what, func() bool {
				return from.Fetch(t, FetchRequest{URL: "http://" + service + "/", Host: "a.example"}).Status == 200
			})
		}
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

// hostNetworkService files the Service of such a Gateway, and its slices, as the
// operator makes them.
func (n *agentNode) hostNetworkService(port uint16) {
	n.t.Helper()
	n.apply(fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: cilium-gateway-gw}
spec: {clusterIP: %[1]s, clusterIPs: [%[1]s, "%[2]s"], ipFamilies: [IPv4, IPv6], type: ClusterIP, ports: [{name: port-%[3]d, port: %[3]d, protocol: TCP}]}
`, gatewayVIP4, gatewayVIP6, port))
	for name, at := range map[string]netip.Addr{"": n.Addr(4), ".ipv6": n.Addr(6)} {
		n.apply(fmt.Sprintf(`
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: cilium-gateway-gw%s, labels: {kubernetes.io/service-name: cilium-gateway-gw}}
addressType: %s
ports: [{name: port-%[3]d, port: %[3]d, protocol: TCP}]
endpoints: [{addresses: ["%[4]s"], nodeName: %[5]s, conditions: {ready: true}}]
`, name, model.FamilyOf(at), port, at, n.Name))
	}
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
