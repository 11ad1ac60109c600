package service

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/yaml"

	"golang.org/x/tools/txtar"

	"github.com/waggle-mesh/waggle/internal/model"
)

var update = flag.Bool("update", false, "rewrite the goldens in testdata")

// TestGolden translates each testdata/*.txtar as on node n1: in.yaml has a
// Service and its EndpointSlices, model what must come of them, unsupported
// what has no effect. The order of slices and endpoints must not matter.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d goldens, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { golden(t, file) })
	}
}

func golden(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	owner, endpointSlices := objects(t, section(archive, "in.yaml"))
	got := map[string]string{"model": translate(owner, endpointSlices), "unsupported": lines(Unsupported(owner))}
	slices.Reverse(endpointSlices)
	for _, s := range endpointSlices {
		slices.Reverse(s.Endpoints)
	}
	if again := translate(owner, endpointSlices); again != got["model"] {
		t.Errorf("in another order:\n%s\nwas:\n%s", again, got["model"])
	}
	for _, name := range []string{"model", "unsupported"} {
		if *update {
			setSection(archive, name, got[name])
		} else if want := section(archive, name); got[name] != want {
			t.Errorf("%s is\n%s\nwant\n%s\n(go test -update rewrites it)", name, got[name], want)
		}
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func objects(t *testing.T, text string) (*corev1.Service, []*discoveryv1.EndpointSlice) {
	t.Helper()
	owner := &corev1.Service{}
	var out []*discoveryv1.EndpointSlice
	for _, document := range strings.Split(text, "\n---\n") {
		var into any = owner
		if strings.Contains(document, "kind: EndpointSlice") {
			out = append(out, &discoveryv1.EndpointSlice{})
			into = out[len(out)-1]
		}
		if err := yaml.UnmarshalStrict([]byte(document), into); err != nil {
			t.Fatal(err)
		}
	}
	return owner, out
}

// translate writes one line for each frontend and each set.
func translate(owner *corev1.Service, endpointSlices []*discoveryv1.EndpointSlice) string {
	name := model.Name{Namespace: "default", Name: "web"}
	frontends := Frontends(name, owner)
	sets := Sets(frontends, owner)
	short := func(key string) string {
		for _, s := range sets {
			if s.Key() == key {
				return fmt.Sprintf("%d/%s", s.Port, where(s.Local))
			}
		}
		return "-"
	}
	var out []string
	for _, f := range frontends {
		line := fmt.Sprintf("%s %s %s: inside %s, outside %s", f.Kind, f.Address, f.Protocol, short(f.Internal), short(f.External))
		if f.KeepSource {
			line += ", source kept"
		}
		out = append(out, line)
	}
	for _, s := range sets {
		set := Backends(s, "n1", endpointSlices)
		if set.Key() != s.Key() {
			panic("a set changes its key")
		}
		line := fmt.Sprintf("%d/%s %s %s:", s.Port, where(s.Local), s.Protocol, s.Family)
		for _, b := range set.Backends {
			line += " " + b.String()
		}
		out = append(out, line)
	}
	return lines(out)
}

func where(local bool) string {
	if local {
		return "local"
	}
	return "all"
}

func lines(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return strings.Join(all, "\n") + "\n"
}

func section(a *txtar.Archive, name string) string {
	for _, f := range a.Files {
		if text := bytes.TrimSpace(f.Data); f.Name == name && len(text) > 0 {
			return string(text) + "\n"
		}
	}
	return ""
}

func setSection(a *txtar.Archive, name, text string) {
	for i := range a.Files {
		if a.Files[i].Name == name {
			a.Files[i].Data = []byte(text)
			return
		}
	}
	if text != "" {
		a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(text)})
	}
}
