package service

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/yaml"

	"github.com/waggle-mesh/waggle/internal/golden"
	"github.com/waggle-mesh/waggle/internal/model"
)

// TestGolden translates each testdata/*.txtar as on node n1: in.yaml has a
// Service and its EndpointSlices, model what must come of them, unsupported
// what has no effect. The order of slices and endpoints must not matter.
func TestGolden(t *testing.T) {
	golden.Run(t, "testdata/*.txtar", func(t *testing.T, c *golden.Case) {
		owner, endpointSlices := objects(t, c.Section("in.yaml"))
		got := translate(owner, endpointSlices)
		slices.Reverse(endpointSlices)
		for _, s := range endpointSlices {
			slices.Reverse(s.Endpoints)
		}
		if again := translate(owner, endpointSlices); again != got {
			t.Errorf("in another order:\n%s\nwas:\n%s", again, got)
		}
		c.Expect("model", got)
		c.Expect("unsupported", lines(Unsupported(owner)))
	})
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

// translate writes one line for each frontend and each set; who is leaving
// stands in parentheses.
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
		for _, b := range set.Leaving {
			line += " (" + b.String() + ")"
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
