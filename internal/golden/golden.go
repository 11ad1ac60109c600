// Package golden runs tests whose cases are files: txtar archives in which
// some sections are given and others are what must come of them, so that a
// case is read at a glance. `go test -update` rewrites what is expected (`make
// golden`: of all packages); what it changes is to be read before it is
// committed. Only tests import it.
package golden

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// Update tells that expectations are to be rewritten, not compared.
var Update = flag.Bool("update", false, "rewrite the expected results")

// Case is a file of a test: what is given and what is expected.
type Case struct {
	t       testing.TB
	file    string
	archive *txtar.Archive
	known   map[string]bool // sections that the test reads or expects
}

// Run runs test for every file that matches pattern, such as
// testdata/*.txtar. A section that the test neither reads nor expects fails it.
func Run(t *testing.T, pattern string, test func(*testing.T, *Case)) {
	t.Helper()
	for _, c := range Cases(t, pattern) {
		t.Run(strings.TrimSuffix(filepath.Base(c.file), ".txtar"), func(t *testing.T) {
			c.t = t
			test(t, c)
			c.finish()
		})
	}
}

// Cases are the files that match pattern, for a test that looks at what is
// given in them.
func Cases(t testing.TB, pattern string) []*Case {
	t.Helper()
	here, err := os.Getwd() // tests may change it
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(here, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files %s, %v", pattern, err)
	}
	var cases []*Case
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		cases = append(cases, &Case{t, file, archive, map[string]bool{}})
	}
	return cases
}

func (c *Case) finish() {
	for _, f := range c.archive.Files {
		if !c.known[f.Name] {
			c.t.Errorf("nothing reads the section %s", f.Name)
		}
	}
	if !*Update || c.t.Failed() {
		return
	}
	if err := os.WriteFile(c.file, txtar.Format(c.archive), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

// Sections are the names of all sections, in the file's order.
func (c *Case) Sections() []string {
	var names []string
	for _, f := range c.archive.Files {
		names = append(names, f.Name)
	}
	return names
}

// Section is the text of a section; "" where there is none.
func (c *Case) Section(name string) string {
	c.known[name] = true
	if i := c.index(name); i >= 0 {
		return string(c.archive.Files[i].Data)
	}
	return ""
}

// Expect compares with a section; empty lines at either end do not matter. A
// section that is not there expects nothing.
func (c *Case) Expect(name, got string) {
	c.t.Helper()
	want := tidy(c.Section(name))
	switch got = tidy(got); {
	case got == want:
	case *Update:
		c.set(name, got)
	default:
		c.t.Errorf("%s is\n%s\nwant\n%s\n(go test -update rewrites it)", name, got, want)
	}
}

func (c *Case) set(name, text string) {
	i := c.index(name)
	if i < 0 {
		i = len(c.archive.Files)
		c.archive.Files = append(c.archive.Files, txtar.File{Name: name})
	}
	c.archive.Files[i].Data = []byte(text)
}

func (c *Case) index(name string) int {
	for i, f := range c.archive.Files {
		if f.Name == name {
			return i
		}
	}
	return -1
}

// File compares with a whole file.
func File(t *testing.T, file, got string) {
	t.Helper()
	if *Update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not as expected (go test -update rewrites it); got:\n%s", file, got)
	}
}

// tidy takes empty lines from both ends.
func tidy(text string) string {
	if text = strings.Trim(text, "\n"); text == "" {
		return ""
	}
	return text + "\n"
}
