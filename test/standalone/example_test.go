package standalone_test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/standalone"
)

// marker is a route in the file of another, which tells that the file was
// read.
const marker = `
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: marker}
spec:
  parentRefs: [{name: nobody}]
`

// example puts the files of a directory of examples into the mesh's own, as
// they are but for the ports of the backends.
func (m *site) example(name string, echo1, echo2 *backend) {
	m.t.Helper()
	files, err := filepath.Glob(filepath.Join("../../examples", name, "*.yaml"))
	if err != nil || len(files) == 0 {
		m.t.Fatalf("example %s: %d files, %v", name, len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			m.t.Fatal(err)
		}
		ports := replace(string(text), "18081", fmt.Sprint(echo1.address().Port()), "18082", fmt.Sprint(echo2.address().Port()))
		if filepath.Base(file) == "route.yaml" && name == "echo-90-10" {
			ports += marker
		}
		part := filepath.Join(m.dir, ".part")
		if err := os.WriteFile(part, []byte(ports), 0o600); err != nil {
			m.t.Fatal(err)
		}
		if err := os.Rename(part, filepath.Join(m.dir, filepath.Base(file))); err != nil {
			m.t.Fatal(err)
		}
	}
}

// TestExamples: two echo backends 50:50, then 90:10 as soon as Envoy says so
// and with no failed request, then redirects.
func TestExamples(t *testing.T) {
	for _, tables := range []agent.RouteTables{agent.Plain, agent.Scoped} {
		t.Run(string(tables), func(t *testing.T) {
			t.Parallel()
			shared, err := startMesh(standalone.Options{RouteTables: tables, PortOffset: offset, Address: nextAddress()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := shared.stop(); err != nil {
					t.Error(err)
				}
			})
			m := newSite(t, shared)
			m.address = shared.options.Address
			echo1, echo2 := m.server("echo-1"), m.server("echo-2")

			m.example("echo-50-50", echo1, echo2)
			m.expectShares(2000, "/echo", map[string]float64{"echo-1": 50, "echo-2": 50})
			m.answers(`
				/        → 404
				/echoes  → 404
				`)

			load := m.load("/echo", "echo-1 echo-2")
			load.some(20)
			m.example("echo-90-10", echo1, echo2)
			m.acknowledged("marker")
			// At 50:50 chance alone would bring this about once in 10^9 times.
			if shares, err := m.shares(200, "/echo"); err != nil || shares["echo-1"] < 75 {
				t.Errorf("Envoy has acknowledged 90:10, and then the shares are %v (%v)", shares, err)
			}
			load.some(20)
			load.finish()
			m.expectShares(2000, "/echo", map[string]float64{"echo-1": 90, "echo-2": 10})

			if err := os.Remove(filepath.Join(shared.dir, "route.yaml")); err != nil {
				t.Fatal(err)
			}
			m.example("redirects", echo1, echo2)
			here := (&url.URL{Scheme: "http", Host: m.where("")}).String()
			m.answers(fmt.Sprintf(`
				/original-prefix/x   → 302 %s/replacement-prefix/x
				/path-and-host/x?q=1 → 302 http://example.org:20080/replacement-prefix/x?q=1
				/scheme-and-host/x   → 302 https://example.org/scheme-and-host/x
				/echo                → 404
				`, here))
		})
	}
}

// acknowledged waits until the status knows a route, which so was read, and
// Envoy has acknowledged all route tables.
func (m *site) acknowledged(route string) {
	m.t.Helper()
	m.await(func(s *standalone.Status) error {
		if !slices.ContainsFunc(s.Routes, func(r standalone.RouteStatus) bool { return strings.HasSuffix(r.Route, "/"+route) }) {
			return fmt.Errorf("route %s is not known", route)
		}
		for _, c := range s.Resources {
			if c.Pending > 0 {
				return fmt.Errorf("%d of %s are not acknowledged", c.Pending, c.Type)
			}
		}
		return nil
	})
}
