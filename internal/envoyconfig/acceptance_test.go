package envoyconfig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestManifests parses the manifests in the folders of EXAMPLES, each of which
// must be accepted as it stands.
func TestManifests(t *testing.T) {
	for _, dir := range filepath.SplitList(os.Getenv("EXAMPLES")) {
		files, err := filepath.Glob(filepath.Join(dir, "*", "*.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, document := range strings.Split("\n"+string(text), "\n---") {
				if !strings.Contains(document, "EnvoyConfig\n") {
					continue
				}
				status, envoy := read(t, document).run(t)
				t.Logf("%s:\n%s%s", file, status, envoy)
				if !strings.Contains(status, "Accepted=True") {
					t.Errorf("%s:\n%s", file, status)
				}
			}
		}
	}
}
