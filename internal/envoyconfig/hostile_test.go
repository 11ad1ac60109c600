package envoyconfig

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/golden"
	"github.com/waggle-mesh/waggle/test/hostile/objects"
)

// objectOf makes a case's Object.
func objectOf(t testing.TB, h objects.Case) Object {
	text, err := json.Marshal(h.Object())
	if err != nil {
		t.Fatal(err)
	}
	meta := metav1.ObjectMeta{Name: "x", Namespace: "tenant", Annotations: h.Annotations}
	if h.Clusterwide {
		c := &ciliumv2.CiliumClusterwideEnvoyConfig{}
		parseYAML(t, string(text), c)
		meta.Namespace = ""
		c.ObjectMeta = meta
		return OfClusterwide(c)
	}
	c := &ciliumv2.CiliumEnvoyConfig{}
	parseYAML(t, string(text), c)
	c.ObjectMeta = meta
	return Of(c)
}

const hostileWorld = `
kind: Service
metadata: {name: web, namespace: tenant}
spec: {clusterIP: 10.96.0.7, ports: [{name: http, port: 80}, {name: closed, port: 9}, {name: dns, port: 53, protocol: UDP}]}
---
kind: Service
metadata: {name: nobody, namespace: tenant}
spec: {clusterIP: 10.96.0.9, ports: [{port: 80}]}
---
kind: Service
metadata: {name: kubernetes}
spec: {clusterIP: 10.96.0.1, ports: [{port: 443}]}
---
kind: Service
metadata: {name: shared, namespace: other, annotations: {granted: tenant}}
spec: {clusterIP: 10.96.0.8, ports: [{port: 80}]}
`

// hostileCases reads the cases, by family.
func hostileCases(t testing.TB) map[string][]objects.Case {
	all, err := objects.Load()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestHostile: every object of test/hostile/objects is refused, or is invalid,
// with the reasons in testdata/hostile, or is accepted if it is contained; the
// one that they change is accepted.
func TestHostile(t *testing.T) {
	w := read(t, strings.TrimSpace(hostileWorld)).world()
	for _, clusterwide := range []bool{false, true} {
		if good := Parse(objectOf(t, objects.Case{Clusterwide: clusterwide}), w); len(good.Problems)+len(good.Unresolved)+len(good.Warnings) > 0 {
			t.Fatalf("the good object: %v %v %v", good.Problems, good.Unresolved, good.Warnings)
		}
	}
	number := 0
	all := hostileCases(t)
	for _, family := range slices.Sorted(maps.Keys(all)) {
		file := filepath.Join("testdata", "hostile", family)
		var got strings.Builder
		for _, h := range all[family] {
			number++
			p := Parse(objectOf(t, h), w)
			fmt.Fprintf(&got, "%s\n", h.Name)
			for _, problem := range p.Problems {
				fmt.Fprintf(&got, "  %s: %s\n", problem.Reason, problem)
			}
			if h.Contained != "" {
				fmt.Fprintf(&got, "  accepted\n")
			}
			if accepted := len(p.Problems) == 0; accepted != (h.Contained != "") {
				t.Errorf("%s: %q is accepted: %v", file, h.Name, accepted)
			}
			if len(p.Problems) > 0 && len(p.Resources)+len(p.Fragments)+len(p.Claims)+len(p.Assignments) > 0 {
				t.Errorf("%s: %q has resources", file, h.Name)
			}
		}
		golden.File(t, file+".want", got.String())
	}
	if number < 300 {
		t.Errorf("only %d objects", number)
	}
}
