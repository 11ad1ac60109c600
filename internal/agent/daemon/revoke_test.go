package daemon

import (
	"net/netip"
	"testing"

	"github.com/waggle-mesh/waggle/internal/model"
)

// TestStanding: both legs of the connections that a verdict was about are
// found, and no others.
func TestStanding(t *testing.T) {
	identities := map[netip.Prefix]model.Identity{
		netip.MustParsePrefix("10.1.0.5/32"): 1001, netip.MustParsePrefix("10.1.0.6/32"): 1002,
		netip.MustParsePrefix("10.1.0.2/32"): model.IdentityIngress, netip.MustParsePrefix("10.1.0.0/24"): 1002,
	}
	pod := []netip.Addr{netip.MustParseAddr("10.1.0.5"), netip.MustParseAddr("fd01::5")}
	ingress := model.Verdict{Direction: model.Ingress, Identity: 1002, Port: 80, Protocol: model.TCP}
	egress := model.Verdict{Direction: model.Egress, Identity: 1002, Port: 80, Protocol: model.TCP}
	gateway := model.Verdict{Direction: model.Ingress, Identity: model.IdentityIngress}
	anybody := model.Verdict{Direction: model.Ingress, Port: 80}
	for _, c := range []struct {
		what          string
		verdict       model.Verdict
		local, remote string
		want          bool
	}{
		{"Envoy to the pod, for the peer", ingress, "10.1.0.6:61000", "10.1.0.5:80", true},
		{"Envoy to another port", ingress, "10.1.0.6:61000", "10.1.0.5:81", false},
		{"Envoy to the pod, for a Gateway", ingress, "10.1.0.2:61000", "10.1.0.5:80", false},
		{"the peer's connection to the pod's listener", ingress, "10.1.0.5:80", "10.1.0.6:40000", true},
		{"the pod's own connection to the peer", ingress, "10.1.0.6:80", "10.1.0.5:40000", false},
		{"a Gateway's, any port", gateway, "10.1.0.2:40000", "10.1.0.5:8080", true},
		{"a Gateway's to another pod", gateway, "10.1.0.2:40000", "10.1.0.6:8080", false},
		{"anybody's", anybody, "192.0.2.1:1", "10.1.0.5:80", true},
		{"the pod to the peer", egress, "10.1.0.6:80", "10.1.0.5:40000", true},
		{"the pod to somebody of the peer's range", egress, "10.1.0.9:80", "10.1.0.5:40000", true},
		{"the pod to a Service", egress, "10.96.0.1:80", "10.1.0.5:40000", true},
		{"the pod to another identity", egress, "10.1.0.2:80", "10.1.0.5:40000", false},
		{"Envoy to the peer, for the pod", egress, "10.1.0.5:61000", "10.1.0.6:80", true},
		{"Envoy to the peer, for another pod", egress, "10.1.0.7:61000", "10.1.0.6:80", false},
	} {
		match := standing(c.verdict, pod, identities)
		if got := match(netip.MustParseAddrPort(c.local), netip.MustParseAddrPort(c.remote)); got != c.want {
			t.Errorf("%s (%s to %s): %t, want %t", c.what, c.local, c.remote, got, c.want)
		}
	}
}
