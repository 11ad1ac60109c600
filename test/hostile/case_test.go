package hostile

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/standalone"
)

const (
	folder    = "../../testdata/hostile"
	neighbour = folder + "/base/neighbour.yaml"
)

// hostileCase is one manifest and what is expected of it.
type hostileCase struct {
	name    string // "yaml/tab-indent.yaml"
	text    []byte
	wants   []string // of any mesh
	running []string // of one with an Envoy
}

func (c hostileCase) path() string { return filepath.Join(folder, "cases", c.name) }

// first is the first of what is expected.
func (c hostileCase) first() string { return append(c.wants, c.running...)[0] }

// readCases reads all cases, in order.
func readCases(t testing.TB) []hostileCase {
	t.Helper()
	root := filepath.Join(folder, "cases")
	var cases []hostileCase
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		c := hostileCase{name: name, text: text}
		c.readWants()
		if len(c.wants)+len(c.running) == 0 {
			return fmt.Errorf("%s says nothing of what is wanted", path)
		}
		cases = append(cases, c)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return cases
}

const nothingWrong = "nothing wrong"

// readWants reads the comments at the top.
func (c *hostileCase) readWants() {
	lines := bufio.NewScanner(bytes.NewReader(c.text))
	for lines.Scan() && strings.HasPrefix(lines.Text(), "#") {
		want, ok := strings.CutPrefix(lines.Text(), "# want: ")
		if !ok {
			continue
		}
		if r, ok := strings.CutPrefix(want, "running: "); ok {
			c.running = append(c.running, r)
		} else {
			c.wants = append(c.wants, want)
		}
	}
}

// outcome is one thing that Waggle says of a file.
type outcome struct {
	text   string
	object string // "HTTPRoute hostile/bad", if known
	bad    bool
}

// outcomesByFile lists what is said of each file.
func outcomesByFile(problems []standalone.Problem, conditions []standalone.Condition) map[string][]outcome {
	out := map[string][]outcome{}
	for _, p := range problems {
		out[p.File] = append(out[p.File], outcome{
			text:   joinWords(p.Severity, fmt.Sprint(p.Line), p.Object, p.Field, p.Message),
			object: p.Object, bad: p.Severity == "error",
		})
	}
	for _, c := range conditions {
		object := c.Kind + " " + c.Name
		if c.Namespace != "" {
			object = c.Kind + " " + c.Namespace + "/" + c.Name
		}
		out[c.File] = append(out[c.File], outcome{
			text:   joinWords(object, c.Section, c.Type+"="+c.Status, c.Reason, c.Message),
			object: object, bad: !c.Good,
		})
	}
	return out
}

func joinWords(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), " ")
}

// check fails the test for whatever is not as a file wants it.
func check(t *testing.T, name string, wants []string, said []outcome) {
	t.Helper()
	for _, difference := range compare(wants, said) {
		t.Errorf("%s: %s", name, difference)
	}
}

// compare tells what is wanted and not said of a file, and the reverse.
func compare(wants []string, said []outcome) []string {
	var differences []string
	excused := map[string]bool{}
	for _, want := range wants {
		if want == nothingWrong {
			continue
		}
		i := slices.IndexFunc(said, func(o outcome) bool { return matches(want, o.text) })
		if i < 0 {
			differences = append(differences, fmt.Sprintf("wanted %q, and of the file is said:\n%s", want, list(said)))
			continue
		}
		excused[said[i].object] = true
	}
	for _, o := range said {
		wanted := slices.ContainsFunc(wants, func(w string) bool { return matches(w, o.text) })
		isError := strings.HasPrefix(o.text, "error ")
		if o.bad && !wanted && (isError || !excused[o.object]) {
			differences = append(differences, fmt.Sprintf("nobody wanted %q", o.text))
		}
	}
	return differences
}

// matches tells whether all words of want are in text, in that order. Signs
// at the end of a word do not count, nor do the directories of a path.
func matches(want, text string) bool {
	words := strings.Fields(text)
	for w := range strings.FieldsSeq(want) {
		i := slices.IndexFunc(words, func(word string) bool {
			word = trim(word)
			return word == trim(w) || strings.HasSuffix(word, "/"+trim(w))
		})
		if i < 0 {
			return false
		}
		words = words[i+1:]
	}
	return true
}

func trim(word string) string { return strings.TrimRight(word, ":,;.") }

func list(said []outcome) string {
	if len(said) == 0 {
		return "\tnothing"
	}
	var b strings.Builder
	for _, o := range said {
		mark := " "
		if o.bad {
			mark = "!"
		}
		fmt.Fprintf(&b, "\t%s %s\n", mark, o.text)
	}
	return b.String()
}
