package allow

import (
	"os"
	"strings"
	"testing"
)

// TestReasons: the page for users has every reason, and no reason is without
// something that it refuses.
func TestReasons(t *testing.T) {
	page, err := os.ReadFile("../../../docs/envoyconfig.md")
	if err != nil {
		t.Fatal(err)
	}
	used := map[Reason]bool{}
	for _, e := range load() {
		used[e.refused] = true
		for _, d := range e.fields {
			used[d.refused] = true
		}
	}
	elsewhere := map[Reason]bool{"grant": true, "space": true, "opaque": true} // said of names, and of Anys
	for reason, r := range reasons {
		if !strings.Contains(string(page), r.text) {
			t.Errorf("docs/envoyconfig.md does not say that %q", r.text)
		}
		if used[reason] == elsewhere[reason] {
			t.Errorf("%q refuses nothing", reason)
		}
	}
}
