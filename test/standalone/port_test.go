package standalone_test

import (
	"net"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/standalone"
)

// TestPortIsTaken: the listener says so, the others answer, and it begins
// when the port is free.
func TestPortIsTaken(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		holder, err := net.Listen("tcp", m.where("x:8080"))
		if err != nil {
			t.Fatal(err)
		}
		defer holder.Close()
		m.backends("a")
		m.gateway(`
			listeners:
			- {name: free, protocol: HTTP, port: 80}
			- {name: taken, protocol: HTTP, port: 8080}
			`)
		m.route("r", `rules: [{backendRefs: [{name: a, port: 80}]}]`)
		m.answers(`/ → a`)
		message := m.awaitCondition("Gateway gw, listener taken: Programmed=False Invalid")
		if !strings.Contains(message, "Address already in use") {
			t.Errorf("message: %s", message)
		}
		holder.Close()
		m.answers(`http://x.example.com:8080/ → a`)
		m.awaitNoConditions()
	})
}

// TestPortsBeyondTheLast: with the offset there is no such port.
func TestPortsBeyondTheLast(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a")
		m.gateway(`
			listeners:
			- {name: low, protocol: HTTP, port: 45535}
			- {name: high, protocol: HTTP, port: 45536}
			`)
		m.route("r", `rules: [{backendRefs: [{name: a, port: 80}]}]`)
		m.answers(`http://x.example.com:45535/ → a`)
		message := m.awaitCondition("Gateway gw, listener high: Accepted=False PortUnavailable")
		for _, word := range []string{"spec.listeners[1].port", "45536", "65536", "20000"} {
			if !strings.Contains(message, word) {
				t.Errorf("%s is not in the message: %s", word, message)
			}
		}
	})
}

// TestAddresses: one that is not of this machine's loopback is refused.
func TestAddresses(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.apply("gateway", `
			apiVersion: gateway.networking.k8s.io/v1
			kind: Gateway
			metadata: {name: gw, namespace: NAMESPACE}
			spec:
			  gatewayClassName: cilium
			  addresses: [{value: 192.0.2.1}]
			  `+webGateway)
		message := m.awaitCondition("Gateway gw: Programmed=False AddressNotUsable")
		if !strings.Contains(message, "spec.addresses[0].value") {
			t.Errorf("message: %s", message)
		}
		m.backends("a")
		m.gateway(webGateway)
		m.route("r", `rules: [{backendRefs: [{name: a, port: 80}]}]`)
		m.answers(`/ → a`)
		m.awaitNoConditions()
	})
}

// TestWithoutOffset: every Gateway has an address of its own, and redirects
// lead to the ports as they are written.
func TestWithoutOffset(t *testing.T) {
	t.Parallel()
	shared, err := startMesh(standalone.Options{RouteTables: agent.Auto})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := shared.stop(); err != nil {
			t.Error(err)
		}
	})
	m := newSite(t, shared)
	m.gateway(`
		listeners:
		- {name: a, protocol: HTTP, port: 28081}
		- {name: b, protocol: HTTP, port: 28082}
		`)
	m.route("r", `
		hostnames: [a.example.com]
		rules:
		- matches: [{path: {value: /path}}]
		  filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /x}}}]
		- matches: [{path: {value: /https}}]
		  filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]
		- matches: [{path: {value: /port}}]
		  filters: [{type: RequestRedirect, requestRedirect: {port: 80}}]
		`)
	m.answers(`
		http://a.example.com:28081/path   → 302 http://a.example.com:28081/x
		http://a.example.com:28082/path   → 302 http://a.example.com:28082/x
		http://a.example.com:28081/https  → 302 https://a.example.com/https
		http://a.example.com:28081/port   → 302 http://a.example.com/port
		`)
}
