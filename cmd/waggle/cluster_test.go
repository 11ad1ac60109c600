package main

import (
	"bytes"
	"errors"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/waggle-mesh/waggle/internal/golden"
	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
)

// TestCluster: a case has objects of a cluster, resources that it does not have,
// and commands with what they print there; "data of" is what an object then has.
func TestCluster(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	golden.Run(t, "testdata/cluster/*.txtar", func(t *testing.T, c *golden.Case) {
		server := kubetest.New(t)
		for document := range strings.SplitSeq(c.Section("objects.yaml"), "\n---\n") {
			put(t, server, document)
		}
		missing := strings.Fields(c.Section("missing kinds"))
		server.Refuse(func(w http.ResponseWriter, r *http.Request) bool {
			if slices.Contains(missing, filepath.Base(r.URL.Path)) {
				kubetest.Answer(w, 404, "NotFound")
				return true
			}
			return false
		})
		t.Setenv("KUBECONFIG", server.Kubeconfig())
		for _, section := range c.Sections() {
			if command, ok := strings.CutPrefix(section, "waggle "); ok {
				c.Expect(section, execute(t, strings.Fields(command)))
			}
			if path, ok := strings.CutPrefix(section, "data of "); ok {
				text, err := yaml.Marshal(server.Get(path)["data"])
				if err != nil {
					t.Fatal(err)
				}
				c.Expect(section, string(text))
			}
		}
	})
}

// put files an object where the API server has it.
func put(t *testing.T, server *kubetest.Server, document string) {
	t.Helper()
	var o kubetest.Object
	if err := yaml.Unmarshal([]byte(document), &o); err != nil {
		t.Fatalf("%v in\n%s", err, document)
	}
	version, kind := o["apiVersion"].(string), o["kind"].(string)
	path := "/apis/" + version
	if version == "v1" {
		path = "/api/v1"
	}
	meta := kubetest.Meta(o)
	if namespace, ok := meta["namespace"].(string); ok {
		path += "/namespaces/" + namespace
	}
	plural := strings.ToLower(kind) + "s"
	if strings.HasSuffix(kind, "Class") {
		plural = strings.ToLower(kind) + "es"
	} else if stem, ok := strings.CutSuffix(plural, "cys"); ok {
		plural = stem + "cies"
	}
	server.Put(path+"/"+plural+"/"+meta["name"].(string), o)
}

// execute runs the program and gives what it prints and its exit code, if that
// is not 0.
func execute(t *testing.T, args []string) string {
	t.Helper()
	var out bytes.Buffer
	c := root()
	c.SetOut(&out)
	c.SetArgs(args)
	err := c.ExecuteContext(t.Context())
	text := out.String()
	if errors.Is(err, errRefused) {
		text += "exit code 1\n"
	} else if err != nil {
		text += "waggle: " + err.Error() + "\nexit code 2\n"
	}
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	return strings.Join(lines, "\n")
}
