// Package waggle holds no code: only the tests of how the project is built.
package waggle

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/waggle-mesh/waggle/"

// Kinds of packages, see docs/architecture.md §3.
var (
	stages = []string{"gateway", "ingress", "envoyconfig", "render", "service", "identity", "policy", "ipam", "announcement"}
	edges  = []string{"kube", "manifest", "xds", "envoy", "datapath", "cni", "link"}
	graphs = []string{"operator", "agent", "standalone"}
)

// rule forbids imports. A package is under internal/, its imports are
// relative to the module where they are ours.
type rule struct {
	of      func(pkg string) bool
	forbids func(imported string) bool
	because string
}

func oneOf(names []string) func(string) bool {
	return func(pkg string) bool {
		first, _, _ := strings.Cut(pkg, "/")
		return slices.Contains(names, first)
	}
}

func internal(match func(string) bool) func(string) bool {
	return func(imported string) bool {
		rest, ok := strings.CutPrefix(imported, module+"internal/")
		return ok && match(rest)
	}
}

func except(names ...string) func(string) bool {
	return func(pkg string) bool { return !oneOf(names)(pkg) }
}

func library(prefixes ...string) func(string) bool {
	return func(imported string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(imported, p) })
	}
}

func anyLibrary(imported string) bool { return strings.Contains(imported, ".") }

var rules = []rule{
	{oneOf([]string{"model", "flow"}), anyLibrary,
		"the words in the middle and the tables know nobody: they import the standard library alone"},
	{oneOf([]string{"reconcile"}), func(i string) bool { return anyLibrary(i) && i != module+"internal/flow" },
		"reconcile knows rows and nothing of what they are about"},
	{oneOf(stages), internal(except("model")),
		"stages are pure functions from API types to model: no tables, no edges, not each other"},
	{oneOf(edges), internal(except("flow", "reconcile", "model")),
		"edges meet in the graphs, or a change of one reaches the other"},
	{func(pkg string) bool { return !oneOf(graphs)(pkg) && !oneOf([]string{"cli"})(pkg) }, internal(oneOf(graphs)),
		"graphs put everything together: nothing that they use can use them"},
	{except("xds", "agent"), library("google.golang.org/grpc", "github.com/envoyproxy/go-control-plane/envoy/service/"),
		"xds is the only door to Envoy's discovery"},
	{except("kube"), library("k8s.io/client-go", "sigs.k8s.io/controller-runtime"),
		"kube is the only door to the API server"},
	{except("datapath"), library("github.com/cilium/ebpf"),
		"datapath is the only door to the kernel's BPF"},
	{except("link"), library("github.com/vishvananda/netlink"),
		"link is the only door to the kernel's devices, routes and sockets"},
	{except("manifest"), library("k8s.io/apiextensions-apiserver", "go.yaml.in/yaml"),
		"manifest is the only reader of files"},
}

// TestImports holds the direction of imports against the rules.
func TestImports(t *testing.T) {
	for _, file := range goFiles(t) {
		pkg, ok := strings.CutPrefix(filepath.ToSlash(filepath.Dir(file)), "internal/")
		if !ok || strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range parsed.Imports {
			imported := strings.Trim(spec.Path.Value, `"`)
			first, _, _ := strings.Cut(pkg, "/")
			if internal(oneOf([]string{first}))(imported) {
				continue // parts of one package
			}
			for _, r := range rules {
				if r.of(pkg) && r.forbids(imported) {
					t.Errorf("%s imports %s: %s", file, imported, r.because)
				}
			}
		}
	}
}

// Sizes, in lines.
const (
	longestFile, longestFunction = 800, 100
	usualFile, usualFunction     = 400, 40 // nine of ten
	largestPackage               = 2500
)

// TestSizes keeps files, functions and packages small enough to be read.
func TestSizes(t *testing.T) {
	var files, functions []int
	packages := map[string]int{}
	for _, file := range goFiles(t) {
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, "_test.go") || ast.IsGenerated(parsed) {
			continue
		}
		lines := set.Position(parsed.End()).Line
		files = append(files, lines)
		packages[filepath.Dir(file)] += lines
		if lines > longestFile {
			t.Errorf("%s has %d lines, more than %d", file, lines, longestFile)
		}
		for _, decl := range parsed.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := set.Position(f.End()).Line - set.Position(f.Pos()).Line + 1
			functions = append(functions, n)
			if n > longestFunction {
				t.Errorf("%s: %s has %d lines, more than %d", set.Position(f.Pos()), f.Name.Name, n, longestFunction)
			}
		}
	}
	for pkg, lines := range packages {
		if lines > largestPackage {
			t.Errorf("package %s has %d lines, more than %d", pkg, lines, largestPackage)
		}
	}
	if n := percentile90(files); n > usualFile {
		t.Errorf("one file of ten has more than %d lines, want %d", n, usualFile)
	}
	if n := percentile90(functions); n > usualFunction {
		t.Errorf("one function of ten has more than %d lines, want %d", n, usualFunction)
	}
}

// TestPackagesSayWhatTheyAreFor: each has a comment, in one file, of at most
// 25 lines.
func TestPackagesSayWhatTheyAreFor(t *testing.T) {
	comments := map[string]int{}
	for _, file := range goFiles(t) {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Dir(file)
		if comments[dir] += 0; parsed.Doc != nil {
			comments[dir]++
			if n := len(strings.Split(parsed.Doc.Text(), "\n")) - 1; n > 25 {
				t.Errorf("%s: the package's comment has %d lines, more than 25", file, n)
			}
		}
	}
	for dir, n := range comments {
		if n != 1 {
			t.Errorf("package %s has %d package comments, want 1", dir, n)
		}
	}
}

// TestNames keeps out the words that say nothing.
func TestNames(t *testing.T) {
	empty := []string{"util", "utils", "common", "helper", "helpers", "manager", "misc"}
	for _, file := range goFiles(t) {
		for _, part := range strings.Split(strings.TrimSuffix(filepath.ToSlash(file), ".go"), "/") {
			if slices.Contains(empty, part) {
				t.Errorf("%s: %q says nothing", file, part)
			}
		}
	}
}

// goFiles are the Go files of this module.
func goFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, otherModule := os.Stat(filepath.Join(path, "go.mod"))
			hidden := strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"
			if path != "." && (hidden || otherModule == nil) {
				return filepath.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(path, ".go") {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 10 {
		t.Fatal(fmt.Errorf("found only %d Go files", len(files)))
	}
	return files
}

func percentile90(lines []int) int {
	slices.Sort(lines)
	return lines[len(lines)*9/10]
}

// TestLinks follows the relative links of the documents.
func TestLinks(t *testing.T) {
	documents, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range append(documents, "README.md") {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range regexp.MustCompile(`\]\(([^)#]+)`).FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(link[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(document), link[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", document, link[1])
			}
		}
	}
}
