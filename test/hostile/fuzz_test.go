package hostile

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/model"
)

// FuzzManifest makes Envoy resources of any bytes, beside the neighbour.
// Nothing panics, every resource keeps the rules that its protobuf states, no
// name stands twice where it must be unique, and a mesh that reads the bytes
// later has the resources of one that has them from the start. The
// neighbour's listeners, clusters and certificates are as they are without.
func FuzzManifest(f *testing.F) {
	for _, c := range readCases(f) {
		readable := !strings.HasPrefix(c.first(), "error") // most of the others are like it to what comes after
		if len(c.text) < 20_000 && (readable || strings.HasPrefix(c.name, "yaml/")) {
			f.Add(c.text)
		}
	}
	base, err := os.ReadFile(neighbour)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.ReplaceAll(base, []byte("neighbour"), []byte("hostile")))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		for name, text := range map[string][]byte{"neighbour.yaml": base, "text.yaml": text} {
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		first, second := filepath.Join(dir, "neighbour.yaml"), filepath.Join(dir, "text.yaml")
		tables := agent.Plain
		if len(text)%2 == 1 {
			tables = agent.Scoped
		}
		later := newPipeline(t, tables)
		later.load(first)
		alone := later.all()
		later.load(first, second)
		atOnce := newPipeline(t, tables)
		atOnce.load(first, second)
		all := atOnce.all()
		checkSame(t, later.all(), all)
		for _, r := range all {
			checkResource(t, r)
		}
		checkNeighbour(t, alone, all)
	})
}

// checkSame fails the test if resources differ.
func checkSame(t *testing.T, got, want map[string]model.Resource) {
	t.Helper()
	for key, r := range want {
		if !bytes.Equal(got[key].Body, r.Body) {
			t.Errorf("%s is %x, and %x from the start", key, got[key].Body, r.Body)
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			t.Errorf("%s is left over", key)
		}
	}
}

// checkNeighbour fails the test if a resource of the neighbour's alone is not
// as it was.
func checkNeighbour(t *testing.T, before, now map[string]model.Resource) {
	t.Helper()
	for key, r := range before {
		switch r.Type {
		case model.EnvoyListener, model.Cluster, model.Secret:
			if !bytes.Equal(now[key].Body, r.Body) {
				t.Errorf("the neighbour's %s has changed", key)
			}
		}
	}
}
