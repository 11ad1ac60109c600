package envoyconfig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestManifests parses the objects among our examples and in the folders of
// EXAMPLES; each must be accepted as it stands.
func TestManifests(t *testing.T) {
	number := 0
	for _, dir := range append(filepath.SplitList(os.Getenv("EXAMPLES")), "../../examples") {
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
				number++
				status, envoy := read(t, document).run(t)
				t.Logf("%s:\n%s%s", file, status, envoy)
				if !strings.Contains(status, "Accepted=True") {
					t.Errorf("%s:\n%s", file, status)
				}
			}
		}
	}
	if number < 5 {
		t.Errorf("only %d objects", number)
	}
}
