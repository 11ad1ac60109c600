package standalone_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/standalone"
)

// pathRoute is a manifest that routes a path to a backend.
func pathRoute(name, path, backend string) string {
	return fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %s, namespace: NAMESPACE}
spec:
  parentRefs: [{name: gw}]
  rules:
  - matches: [{path: {value: %s}}]
    backendRefs: [{name: %s, port: 80}]
`, name, path, backend)
}

// TestEdits: in place, renamed into place, moved away, deleted, in new
// folders, as JSON.
func TestEdits(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a b")
		m.gateway(webGateway)
		m.write(m.file("r"), pathRoute("r", "/r", "a"))
		m.answers(`/r → a`)
		m.write(m.file("r"), pathRoute("r", "/r", "b"))
		m.answers(`/r → b`)
		m.apply("r", pathRoute("r", "/r", "a"))
		m.answers(`/r → a`)
		if err := os.Rename(m.file("r"), m.file("other")); err != nil {
			t.Fatal(err)
		}
		m.apply("other", pathRoute("r", "/r", "b"))
		m.answers(`/r → b`)
		m.remove("other")
		m.answers(`/r → 404`)

		deep := filepath.Join(m.folder, "new", "deep")
		if err := os.MkdirAll(deep, 0o700); err != nil {
			t.Fatal(err)
		}
		m.write(filepath.Join(deep, "r.yml"), pathRoute("r", "/deep", "a")+"---\n"+pathRoute("s", "/second", "b"))
		m.answers(`
			/deep   → a
			/second → b
			`)
		m.write(filepath.Join(deep, "j.json"), replace(`{"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
			"metadata": {"name": "j", "namespace": "NAMESPACE"},
			"spec": {"parentRefs": [{"name": "gw"}], "rules": [
				{"matches": [{"path": {"value": "/json"}}], "backendRefs": [{"name": "a", "port": 80}]}]}}`, "\t", ""))
		m.answers(`/json → a`)
		m.write(filepath.Join(deep, "notes.txt"), pathRoute("t", "/text", "a"))
		m.write(filepath.Join(deep, ".hidden.yaml"), pathRoute("h", "/hidden", "a"))
		if err := os.RemoveAll(filepath.Join(m.folder, "new")); err != nil {
			t.Fatal(err)
		}
		m.answers(`
			/deep   → 404
			/json   → 404
			/text   → 404
			/hidden → 404
			`)
	})
}

// TestHalfWritten: until a file parses, what it held goes on being served;
// the same goes for an object with a mistake, and not for its neighbours.
func TestHalfWritten(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a b")
		m.gateway(webGateway)
		both := func(name string) string { return pathRoute("r", "/r", name) + "---\n" + pathRoute("s", "/s", name) }
		m.write(m.file("r"), both("a"))
		m.answers("/r → a\n/s → a")
		load := m.load("/r", "a b")
		served := []string{"a", "b", "a"}
		for i, half := range []string{both("b")[:60], both("a")[:len(both("a"))-10], both("b") + "---\napiVersion: ["} {
			m.write(m.file("r"), half)
			m.awaitProblem("r.yaml", "")
			m.answers(replace("/r → X\n/s → X", "X", served[i%2]))
			m.write(m.file("r"), both(served[(i+1)%2]))
			m.answers(replace("/r → X\n/s → X", "X", served[(i+1)%2]))
			m.awaitNoConditions()
		}
		misspelt := strings.Replace(pathRoute("r", "/r", "a"), "backendRefs", "backendRef", 1)
		m.write(m.file("r"), misspelt+"---\n"+pathRoute("s", "/s", "a"))
		m.awaitProblem("r.yaml", "backendRef")
		m.answers("/r → b\n/s → a")
		load.finish()
	})
}

// awaitProblem waits for a problem with a file whose text contains a word.
func (m *site) awaitProblem(file, word string) (found standalone.Problem) {
	m.t.Helper()
	m.await(func(s *standalone.Status) error {
		for _, p := range s.Problems {
			if p.File == filepath.Join(m.folder, file) && strings.Contains(p.Field+p.Message, word) {
				found = p
				return nil
			}
		}
		return fmt.Errorf("no problem with %s and %q", file, word)
	})
	return found
}

// TestDuplicates: of two definitions the first stays, and the error names
// both files. When it goes, the other one counts.
func TestDuplicates(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a b")
		m.gateway(webGateway)
		m.apply("second", pathRoute("r", "/r", "a"))
		m.answers(`/r → a`)
		m.apply("first", pathRoute("r", "/r", "b"))
		p := m.awaitProblem("first.yaml", "defined twice")
		if !strings.Contains(p.Message, m.file("second")) || !strings.Contains(p.Object, m.namespace+"/r") {
			t.Errorf("the error does not name the other file and the object: %+v", p)
		}
		m.answers(`/r → a`)
		m.remove("second")
		m.answers(`/r → b`)
		m.awaitNoConditions()
	})
}

// TestUnknownKinds are passed over, with a word.
func TestUnknownKinds(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a")
		m.gateway(webGateway)
		m.apply("r", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n---\n"+pathRoute("r", "/r", "a"))
		m.answers(`/r → a`)
	})
}

// TestMistakesNameFileLineAndField.
func TestMistakesNameFileLineAndField(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a")
		m.gateway(webGateway)
		m.apply("r", strings.Replace(pathRoute("r", "/r", "a"), "value", "valeu", 1))
		p := m.awaitProblem("r.yaml", "valeu")
		if p.Line != 7 || !strings.Contains(p.Field+p.Message, "spec.rules[0].matches[0].path") || !strings.Contains(p.Object, m.namespace+"/r") {
			t.Errorf("problem %+v", p)
		}
		m.apply("r", pathRoute("r", "/r", "a"))
		m.answers(`/r → a`)
		m.awaitNoConditions()
	})
}
