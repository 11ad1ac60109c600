package standalone_test

import (
	"fmt"
	"net"
	"net/netip"
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

// TestWithoutOffset: redirects lead to the ports as they are written.
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

// TestAddressesAreGiven: every Gateway has one of its own, and keeps it.
func TestAddressesAreGiven(t *testing.T) {
	t.Parallel()
	p := newProcess(t)
	p.options.Address = netip.Addr{}
	p.start()
	m := newSite(t, p.mesh)
	m.hasty(m.client) // it is to ask at two addresses
	for _, name := range []string{"one", "two"} {
		m.backends(name)
		m.apply("gateway-"+name, replace(`
			apiVersion: gateway.networking.k8s.io/v1
			kind: Gateway
			metadata: {name: WHO, namespace: NAMESPACE}
			spec:
			  gatewayClassName: cilium
			  listeners: [{name: http, protocol: HTTP, port: 8083}]
			`, "WHO", name))
		m.route(name, replace(`
			parentRefs: [{name: WHO}]
			rules: [{backendRefs: [{name: WHO, port: 80}]}]
			`, "WHO", name))
	}
	given := func() map[string]netip.Addr {
		out := map[string]netip.Addr{}
		m.await(func(s *standalone.Status) error {
			for _, l := range s.Listeners {
				if a, err := netip.ParseAddrPort(l.Address); err == nil && l.State == "Accepted" {
					out[strings.TrimPrefix(l.Gateway, m.namespace+"/")] = a.Addr()
				}
			}
			return enough(len(out), 2)
		})
		return out
	}
	first := given()
	if first["one"] == first["two"] || !first["one"].IsLoopback() || !first["two"].IsLoopback() {
		t.Errorf("the Gateways have %v", first)
	}
	for name, address := range first {
		m.address = address
		m.answers("http://x.example.com:8083/ → " + name)
	}
	p.kill()
	m.remove("gateway-one")
	p.start()
	if err := poll(func() error {
		s, err := standalone.AskStatus(t.Context(), p.stateDir)
		if err != nil {
			return err
		}
		if len(s.Listeners) != 1 || s.Listeners[0].Address != netip.AddrPortFrom(first["two"], 8083+offset).String() {
			return fmt.Errorf("after a restart: %+v, want two at %s", s.Listeners, first["two"])
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
