package hostile

import (
	"path/filepath"
	"testing"

	"github.com/waggle-mesh/waggle/internal/standalone"
)

// options are those of `waggle run` by a user who is not root.
var options = standalone.GraphOptions{PortOffset: 10000}

// TestAnalyze judges every case by itself, with the neighbour.
func TestAnalyze(t *testing.T) {
	cases := readCases(t)
	if len(cases) < 150 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			paths := []string{neighbour, c.path()}
			if filepath.Base(filepath.Dir(c.path())) == "duplicates" {
				paths[1] = filepath.Dir(c.path()) // they are about each other
			}
			said := analyze(t, paths...)
			check(t, c.name, c.wants, said[c.path()])
		})
	}
}

// TestAnalyzeTogether judges all cases in one mesh.
func TestAnalyzeTogether(t *testing.T) {
	said := analyze(t, neighbour, filepath.Join(folder, "cases"))
	for _, c := range readCases(t) {
		check(t, c.name, c.wants, said[c.path()])
	}
}

// analyze gives what is said of each file, and fails the test if anything bad
// is said of the neighbour.
func analyze(t *testing.T, paths ...string) map[string][]outcome {
	t.Helper()
	report, err := standalone.Analyze(paths, options)
	if err != nil {
		t.Fatal(err)
	}
	said := outcomesByFile(report.Problems, report.Conditions)
	if len(said[filepath.Clean(neighbour)]) == 0 {
		t.Fatal("the neighbour is not there")
	}
	check(t, "neighbour.yaml", nil, said[filepath.Clean(neighbour)])
	return said
}
