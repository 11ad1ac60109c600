package manifest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

// TestHostile has files that want to cost a lot, or to be taken for something
// they are not. Each ends in an error and leaves the good file alone.
func TestHostile(t *testing.T) {
	bomb := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += fmt.Sprintf("%[1]c: &%[1]c [*%[2]c%[3]s]\n", c, c-1, strings.Repeat(fmt.Sprintf(", *%c", c-1), 9))
	}
	head := "apiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec: {ports: [{port: 80}]}\n"
	cases := map[string]struct{ text, want string }{
		"aliases": {head + bomb, "Service default/b: aliases make it larger than 1500000 bytes"},
		"aliased scalar": {head + "a: &a " + strings.Repeat("x", 1000) + "\nb: [" + strings.Repeat("*a,", 5000) + "]\n",
			"Service default/b: aliases make it larger than 1500000 bytes"},
		"deep":        {head + "a: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000), "Service default/b: nests deeper than 64 levels"},
		"deeper":      {head + "a: " + strings.Repeat("[", 500_000), "does not parse: exceeded max depth of 10000"},
		"deep blocks": {head + strings.Repeat("- ", 9000), "does not parse:"},
		"large":       {head + "a: " + strings.Repeat("x", 1_500_000), "Service default/b: object of 1500"},
		"larger":      {head + "a: " + strings.Repeat("x", 5<<20), "an object may have 1500000"},
		"many fields": {head + "a: {" + strings.Repeat("b,", 10) + "}", "is set twice"},
		"long field":  {head + strings.Repeat("x", 1000) + ": 1", "x…: unknown field"},
		"NUL":         {head + "\x00", "binary, not text"},
		"binary":      {"\xff\xfe" + head, "not UTF-8 text"},
		"image":       {"\x89PNG\r\n\x1a\n", "not UTF-8 text"},
		"control":     {head + "a: \x01", "does not parse:"},
		"markers":     {strings.Repeat("---\nx\n", 3), "is no object"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			write(t, "bad.yaml", c.text)
			write(t, "good.yaml", service("a", 80))
			w := newWorld()
			w.load(t, ".")
			if got := fmt.Sprint(w.rows()); got != "[Service default/a]" {
				t.Errorf("rows: %s", got)
			}
			problems := w.problems()
			all := strings.Join(problems, "\n")
			if !strings.Contains(all, c.want) || !strings.HasPrefix(all, "bad.yaml") {
				t.Errorf("problems: %s", clip(all, 1000))
			}
			if len(problems) > maxProblems+1 || len(all) > 20*maxMessage {
				t.Errorf("%d problems, %d bytes", len(problems), len(all))
			}
		})
	}
}

// TestManyObjects reads 10,000 objects, in documents and in a list.
func TestManyObjects(t *testing.T) {
	var documents, list strings.Builder
	list.WriteString("apiVersion: v1\nkind: List\nitems:\n")
	for i := range 5000 {
		documents.WriteString("---\n" + service(fmt.Sprintf("a%d", i), 80))
		fmt.Fprintf(&list, "- {apiVersion: v1, kind: Service, metadata: {name: b%d}, spec: {ports: [{port: 80}]}}\n", i)
	}
	t.Chdir(t.TempDir())
	write(t, "a.yaml", documents.String())
	write(t, "b.yaml", list.String())
	w := newWorld()
	w.load(t, ".")
	if n := w.services.Len(); n != 10_000 {
		t.Errorf("%d objects, problems %v", n, w.problems())
	}
}

// TestUnreadable has entries that are no files to read.
func TestUnreadable(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "good.yaml", service("a", 80))
	write(t, "directory.yaml/b.yaml", service("b", 80))
	if err := syscall.Mkfifo("pipe.yaml", 0o644); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"nowhere": "dangling.yaml", "loop.yaml": "loop.yaml"} {
		if err := os.Symlink(from, to); err != nil {
			t.Fatal(err)
		}
	}
	w := newWorld()
	w.load(t, ".", "good.yaml")
	want := []string{
		"dangling.yaml: cannot be read: no such file or directory",
		"loop.yaml: cannot be read: too many levels of symbolic links",
	}
	if got := w.problems(); !reflect.DeepEqual(got, want) {
		t.Errorf("problems: %q", got)
	}
	if got := fmt.Sprint(w.rows()); got != "[Service default/a Service default/b]" {
		t.Errorf("rows: %s", got)
	}
	if _, err := w.Load("nowhere"); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("a path that is not there: %v", err)
	}
}

// TestVersion holds versions against edits that mean nothing, and that do.
func TestVersion(t *testing.T) {
	w := newWorld()
	version := func(text string) string {
		t.Helper()
		d := w.bindings.read([]byte(text))
		if len(d.objects) != 1 || d.objects[0].value == nil {
			t.Fatalf("%+v", d)
		}
		return d.objects[0].version
	}
	const head = "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\n"
	first := version(head + "metadata: {name: a, labels: {a: b, c: d}}\nspec: {controllerName: a.b/c}\n")
	for _, same := range []string{
		"# comment\n" + head + "spec:\n    controllerName: \"a.b/c\"\nmetadata:\n  labels: {c: d, a: b}\n  name: a\n",
		"apiVersion: gateway.networking.k8s.io/v1beta1\nkind: GatewayClass\nmetadata: {name: a, labels: {a: b, c: d}}\nspec: {controllerName: a.b/c}\nstatus: {conditions: []}\n",
	} {
		if version(same) != first {
			t.Errorf("another version: %s", same)
		}
	}
	if version(head+"metadata: {name: a, labels: {a: b, c: e}}\nspec: {controllerName: a.b/c}\n") == first {
		t.Error("a label changes nothing")
	}
}

// FuzzManifest reads anything twice: it must not panic, and must read the
// same both times.
func FuzzManifest(f *testing.F) {
	cases, err := filepath.Glob("testdata/load/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range cases {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(typicalRoute(1)))
	f.Fuzz(func(t *testing.T, text []byte) {
		if checkText(text) != nil {
			return
		}
		w, chunks := newWorld(), split(text)
		lines := bytes.Count(text, []byte("\n")) + 1
		for _, c := range chunks {
			first, second := w.bindings.read(c.text), w.bindings.read(c.text)
			if !reflect.DeepEqual(first.problems, second.problems) || len(first.objects) != len(second.objects) {
				t.Fatalf("read in two ways: %+v %+v", first, second)
			}
			for i, o := range first.objects {
				other := second.objects[i]
				if o.version != other.version || !reflect.DeepEqual(o.value, other.value) || !reflect.DeepEqual(o.problems, other.problems) {
					t.Fatalf("%s read in two ways: %+v %+v", o.ref, o, other)
				}
				if (o.value == nil) != (len(o.problems) > 0) {
					t.Fatalf("%s: value %v, problems %v", o.ref, o.value, o.problems)
				}
				if o.line < 1 || c.line+o.line-1 > lines {
					t.Fatalf("%s in line %d of %d", o.ref, c.line+o.line-1, lines)
				}
			}
		}
	})
}
