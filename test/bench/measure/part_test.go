package measure

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestParts: a later run replaces a part and keeps the others.
func TestParts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "parts")
	run := func(name, waggle, measured string) string {
		parts, err := OpenParts(file)
		if err != nil {
			t.Fatal(err)
		}
		one := &Page{}
		one.Section(name)
		one.Add(Target{What: name, Measured: measured})
		if err := parts.Put(name, waggle, one); err != nil {
			t.Fatal(err)
		}
		page := &Page{Machine: Machine{Waggle: waggle}}
		parts.Fill(page, []string{"first", "second"})
		var text strings.Builder
		if _, err := page.WriteTo(&text); err != nil {
			t.Fatal(err)
		}
		return text.String()
	}
	run("second", "v1", "2 s")
	run("first", "v1", "9 s")
	got := run("first", "v2", "1 s")
	for _, want := range []string{"| first |  | 1 s |", "| second |  | 2 s |", "## second\n\nThis part was measured on 0001-01-01, with Waggle v1."} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	if strings.Contains(got, "9 s") || strings.Index(got, "## first") > strings.Index(got, "## second") {
		t.Errorf("old or out of order:\n%s", got)
	}
}
