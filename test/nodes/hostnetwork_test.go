package nodes

import (
	"net/netip"
	"testing"

	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
)

// TestAgentHostNetwork: a Gateway's listener that is bound at the node's own
// addresses answers there, in both families, until the Gateway goes.
func TestAgentHostNetwork(t *testing.T) {
	const port = 8090
	n, a, _, _ := agentLab(t)
	gw := model.Name{Namespace: "default", Name: "gw"}
	l := model.Listener{Gateway: gw, Port: port, BindPort: port, Protocol: model.HTTP, Chains: []model.Chain{{Table: model.TableKey(gw, port, "")}}}
	n.generated("cilium-gateway-gw", nil, nil, nil,
		render.StoredListener(l, model.Clients{}, netip.IPv4Unspecified(), netip.IPv6Unspecified()))
	n.gatewayHost(l.Chains[0].Table, "cilium-gateway-gw.0", "a.example")
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
