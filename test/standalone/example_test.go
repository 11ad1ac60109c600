package standalone_test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/standalone"
)

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
		part := filepath.Join(m.dir, ".part")
		if err := os.WriteFile(part, []byte(ports), 0o600); err != nil {
			m.t.Fatal(err)
		}
		if err := os.Rename(part, filepath.Join(m.dir, filepath.Base(file))); err != nil {
			m.t.Fatal(err)
		}
	}
}

// TestExamples: two echo backends 50:50, then 90:10 within a second and with
// no failed request, then redirects.
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
			edited := time.Now()
			m.example("echo-90-10", echo1, echo2)
			if err := poll(func() error { return m.mostly("/echo", "echo-1") }); err != nil {
				t.Fatal(err)
			}
			t.Logf("90:10 was seen after %s", time.Since(edited).Round(time.Millisecond))
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

// mostly tells whether the next 20 requests are answered by one backend but
// for a few: which at 50:50 chance brings about once in 5,000 times.
func (m *site) mostly(line, backend string) error {
	shares, err := m.shares(20, line)
	if err == nil && shares[backend] < 85 {
		err = fmt.Errorf("shares %v", shares)
	}
	return err
}
