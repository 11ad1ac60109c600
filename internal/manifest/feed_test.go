package manifest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/golden"
	"github.com/waggle-mesh/waggle/internal/model"
)

// world is a feed with tables for all kinds.
type world struct {
	*Feed
	graph      *flow.Graph
	classes    *flow.Table[model.Object[*gatewayv1.GatewayClass]]
	gateways   *flow.Table[model.Object[*gatewayv1.Gateway]]
	routes     *flow.Table[model.Object[*gatewayv1.HTTPRoute]]
	grants     *flow.Table[model.Object[*gatewayv1.ReferenceGrant]]
	services   *flow.Table[model.Object[*corev1.Service]]
	namespaces *flow.Table[model.Object[*corev1.Namespace]]
	secrets    *flow.Table[model.Object[*corev1.Secret]]
	slices     *flow.Table[model.Object[*discoveryv1.EndpointSlice]]
}

func table[T any](g *flow.Graph, name string) *flow.Table[model.Object[T]] {
	return flow.NewTable(g, name, model.Object[T].Equal)
}

func newWorld() *world {
	g := &flow.Graph{}
	w := &world{
		graph:      g,
		classes:    table[*gatewayv1.GatewayClass](g, "classes"),
		gateways:   table[*gatewayv1.Gateway](g, "gateways"),
		routes:     table[*gatewayv1.HTTPRoute](g, "routes"),
		grants:     table[*gatewayv1.ReferenceGrant](g, "grants"),
		services:   table[*corev1.Service](g, "services"),
		namespaces: table[*corev1.Namespace](g, "namespaces"),
		secrets:    table[*corev1.Secret](g, "secrets"),
		slices:     table[*discoveryv1.EndpointSlice](g, "slices"),
	}
	w.Feed = New(Kind(w.classes), Kind(w.gateways), Kind(w.routes), Kind(w.grants),
		Kind(w.services), Kind(w.namespaces), Kind(w.secrets), Kind(w.slices))
	return w
}

// rows lists the objects in the tables, as "Kind namespace/name".
func (w *world) rows() []string {
	var out []string
	out = append(out, names("GatewayClass", w.classes)...)
	out = append(out, names("Gateway", w.gateways)...)
	out = append(out, names("HTTPRoute", w.routes)...)
	out = append(out, names("ReferenceGrant", w.grants)...)
	out = append(out, names("Service", w.services)...)
	out = append(out, names("Namespace", w.namespaces)...)
	out = append(out, names("Secret", w.secrets)...)
	out = append(out, names("EndpointSlice", w.slices)...)
	slices.Sort(out)
	return out
}

func names[T any](kind string, t *flow.Table[model.Object[T]]) []string {
	var out []string
	for _, row := range t.All() {
		out = append(out, kind+" "+row.Name.String())
	}
	return out
}

// load loads and applies.
func (w *world) load(t *testing.T, paths ...string) {
	t.Helper()
	batch, err := w.Load(paths...)
	if err != nil {
		t.Fatal(err)
	}
	w.apply(t, batch)
}

func (w *world) apply(t *testing.T, batch Batch) {
	t.Helper()
	batch.Apply()
	if err := w.graph.Commit(); err != nil {
		t.Fatal(err)
	}
}

// TestLoad reads the files of each case in testdata/load: the file "rows"
// lists what reaches the tables, the file "problems" what is told of the rest.
func TestLoad(t *testing.T) {
	golden.Run(t, "testdata/load/*.txtar", func(t *testing.T, c *golden.Case) {
		t.Chdir(t.TempDir())
		for _, name := range c.Sections() {
			if name != "rows" && name != "problems" {
				write(t, name, c.Section(name))
			}
		}
		w := newWorld()
		w.load(t, ".")
		c.Expect("rows", lines(w.rows()))
		c.Expect("problems", lines(w.problems()))
	})
}

// problems lists the problems as they are printed.
func (w *world) problems() []string {
	var out []string
	for _, p := range w.Problems() {
		out = append(out, p.String())
	}
	return out
}

func lines(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return strings.Join(list, "\n") + "\n"
}

// write makes a file, and the directories above it.
func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
