package nodes

import (
	"net/netip"
	"testing"
)

// TestNodeAsksGateway: a Gateway tells backends the node's own address where a
// process of the node asks, and not another one of the machine's.
func TestNodeAsksGateway(t *testing.T) {
	n, _, _, _ := agentLab(t)
	n.gateway("a.example")
	n.startEnvoy()
	inBothFamilies(t, func(t *testing.T, family int) {
		at := "http://" + netip.AddrPortFrom(pick(family, gatewayVIP4, gatewayVIP6), 80).String() + "/"
		var r FetchResult
		n.eventually("the Gateway answers", func() bool {
			r = n.Fetch(t, FetchRequest{URL: at, Host: "a.example"})
			return r.Status == 200
		})
		if got, want := r.Echo.Header.Get("X-Forwarded-For"), n.Addr(family).String(); got != want {
			t.Errorf("the backend is told of %s, want %s", got, want)
		}
	})
}
