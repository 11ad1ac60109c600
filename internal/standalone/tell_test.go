package standalone

import (
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/gateway"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/operator"
)

const threeGateways = `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: ready}
spec: {gatewayClassName: cilium, listeners: [{name: http, protocol: HTTP, port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: late}
spec: {gatewayClassName: cilium, listeners: [{name: http, protocol: HTTP, port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: outside}
spec: {gatewayClassName: cilium, addresses: [{value: 192.0.2.1}], listeners: [{name: http, protocol: HTTP, port: 80}]}`

// TestTellListeners: a listener that waits keeps nobody else from being
// printed, and is named; each is printed when it is ready, and again when it
// was not for a while.
func TestTellListeners(t *testing.T) {
	var out strings.Builder
	m := &mesh{graph: load(t, GraphOptions{}, threeGateways), options: Options{Out: &out, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}}
	pool := emptyLoopback(netip.Addr{})
	says := func(when, want string) {
		t.Helper()
		if _, err := m.graph.Commit(time.Now()); err != nil {
			t.Fatal(err)
		}
		m.tell()
		if got := strings.TrimSpace(out.String()); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", when, got, want)
		}
		out.Reset()
	}
	envoy := func(gateway string, state model.OutcomeState) {
		m.graph.Outcomes([]model.Outcome{{
			ResourceKey: model.ResourceKey{Type: model.EnvoyListener, Name: model.ListenerKey(model.Name{Namespace: "default", Name: gateway}, 80)},
			State:       state,
		}})
	}
	if _, err := m.graph.Commit(time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, wish := range m.graph.requests.All() {
		address := pool.choose(wish)
		for _, a := range address.Addresses {
			pool.set(entry{wish.Key(), a})
		}
		m.graph.answers.Addresses.Set(address)
	}
	says("at first", `GATEWAY          LISTENER  HOSTNAME  ADDRESS  STATE
default/outside  http      *         -        AddressNotUsable
waiting for Envoy: default/late http, default/ready http`)
	envoy("ready", model.Accepted)
	says("one is ready", `GATEWAY        LISTENER  HOSTNAME  ADDRESS              STATE
default/ready  http      *         http://127.0.0.2:80  Accepted
waiting for Envoy: default/late http`)
	says("nothing is new", "")
	envoy("late", model.Accepted)
	says("the other is ready", `GATEWAY       LISTENER  HOSTNAME  ADDRESS              STATE
default/late  http      *         http://127.0.0.1:80  Accepted`)
	envoy("ready", model.Pending)
	says("one has gone", "waiting for Envoy: default/ready http")
	envoy("ready", model.Accepted)
	says("it is back", `GATEWAY        LISTENER  HOSTNAME  ADDRESS              STATE
default/ready  http      *         http://127.0.0.2:80  Accepted`)
	m.graph.answers.Addresses.Set(operator.Address{
		Gateway: model.Name{Namespace: "default", Name: "late"}, Problem: gateway.Problem{Reason: "AddressNotUsable", Message: "no"},
	})
	says("one has lost its address", `GATEWAY       LISTENER  HOSTNAME  ADDRESS  STATE
default/late  http      *         -        AddressNotUsable`)
}
