// Package standalone_test looks at `waggle run` from where its users stand:
// manifests go into a directory, requests into a Gateway's address, and what
// counts is what comes out, at the client and at the backend.
//
//	test ─▶ manifests ─▶ waggle ─▶ Envoy ─▶ backend
//	  └────── requests ─────────────▲          │
//	  ◀─────── answer, and the request as it was seen
//
// Two meshes serve all tests, one for each way of serving route tables. A
// test has a namespace, a folder of manifests and a loopback address of its
// own, and runs on both; see inBothModes.
package standalone_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/standalone"
)

// offset is added to the listeners' ports: 80 answers on 20080. It keeps the
// ports above those of the privileged and below those the kernel gives out.
const offset = 20000

// meshes serve the tests, by the way of their route tables.
var meshes = map[agent.RouteTables]*mesh{}

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	defer removeBinary()
	for _, tables := range []agent.RouteTables{agent.Plain, agent.Scoped} {
		started, err := startMesh(standalone.Options{RouteTables: tables, PortOffset: offset, Address: nextAddress()})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		meshes[tables] = started
	}
	code := m.Run()
	for tables, started := range meshes {
		if err := started.stop(); err != nil {
			fmt.Fprintf(os.Stderr, "mesh with %s route tables: %v\n", tables, err)
			code = 1
		}
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, "goroutines are left:", err)
		code = 1
	}
	return code
}

// inBothModes runs a test on each of the meshes.
func inBothModes(t *testing.T, test func(t *testing.T, m *site)) {
	t.Helper()
	t.Parallel()
	for tables, shared := range meshes {
		t.Run(string(tables), func(t *testing.T) {
			t.Parallel()
			test(t, newSite(t, shared))
		})
	}
}

var addresses atomic.Uint32

// nextAddress gives a loopback address that nobody else uses: not in this
// process, and hardly in another.
func nextAddress() netip.Addr {
	n, pid := addresses.Add(1), os.Getpid()
	return netip.AddrFrom4([4]byte{127, 128 | byte(n>>8), byte(pid), byte(n)})
}

// envoyPath finds the stock Envoy: WAGGLE_ENVOY, or .tools/envoy in a folder
// above.
func envoyPath() (string, error) {
	if path := os.Getenv("WAGGLE_ENVOY"); path != "" {
		return path, nil
	}
	dir, err := os.Getwd()
	for ; err == nil && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		path := filepath.Join(dir, ".tools", "envoy")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("neither WAGGLE_ENVOY nor .tools/envoy above here: run `make tools`")
}
