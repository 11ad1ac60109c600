package render_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"sigs.k8s.io/yaml"

	"github.com/waggle-mesh/waggle/internal/golden"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
)

// goldenAddress is where the listeners of golden files answer.
var goldenAddress = netip.MustParseAddr("127.0.0.1")

// TestGolden renders the rows of each file in testdata and compares with
// what the file says Envoy gets. A file's first part is named for the kind
// of row.
func TestGolden(t *testing.T) {
	golden.Run(t, "testdata/*.txtar", func(t *testing.T, c *golden.Case) {
		kind := c.Sections()[0]
		in := c.Section(kind)
		got := renderGolden(t, kind, in)
		c.Expect("envoy.yaml", got)
		if renderGolden(t, kind, in) != got {
			t.Error("the same row renders differently the second time")
		}
	})
}

func renderGolden(t *testing.T, kind, in string) string {
	switch kind {
	case "virtualhost.yaml":
		h := render.VirtualHost(decode[model.VirtualHost](t, in))
		return show(t, render.RouteConfiguration(h.Table, []render.Host{h}))
	case "scoped.yaml":
		h := render.VirtualHost(decode[model.VirtualHost](t, in))
		return show(t, append(render.ScopedHost(h), render.ScopedWildcards(h.Table, nil)...)...)
	case "listener.yaml":
		return show(t, render.Listener(decode[model.Listener](t, in), render.ListenerOptions{Address: goldenAddress}))
	case "clients.yaml":
		return show(t, render.Listener(goldenListener, render.ListenerOptions{Address: goldenAddress, Clients: decode[model.Clients](t, in)}))
	case "scopedlistener.yaml":
		return show(t, render.Listener(decode[model.Listener](t, in), render.ListenerOptions{
			Address: goldenAddress, ExclusivePort: true, Scoped: func(string) bool { return true },
		}))
	case "backend.yaml":
		return show(t, render.Cluster(decode[model.Backend](t, in)))
	case "endpoints.yaml":
		return show(t, render.LoadAssignment(decode[model.Endpoints](t, in)))
	case "certificate.yaml":
		return show(t, render.Certificate(decode[model.Certificate](t, in)))
	case "bootstrap.yaml":
		text, err := yaml.JSONToYAML(render.Bootstrap(decode[render.BootstrapOptions](t, in)))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	t.Fatalf("no kind of row is called %s", kind)
	return ""
}

// goldenListener is the one that clients come to.
var goldenListener = model.Listener{
	Gateway: model.Name{Namespace: "shop", Name: "gw"}, Port: 443, BindPort: 443, Protocol: model.HTTPS,
	Chains: []model.Chain{{Certificates: []model.Name{{Namespace: "shop", Name: "any"}}, Table: "shop|gw|443|*"}},
}

// decode reads a row; its keys are the names of Go fields.
func decode[T any](t *testing.T, in string) (row T) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(in), &row); err != nil {
		t.Fatal(err)
	}
	return row
}

// show writes resources as YAML under their names and owners.
func show(t *testing.T, resources ...model.Resource) string {
	t.Helper()
	var out strings.Builder
	for _, r := range resources {
		validate(t, r)
		fmt.Fprintf(&out, "# %s %s\n", r.Type[strings.LastIndex(string(r.Type), ".")+1:], r.Name)
		for _, owner := range r.Owners {
			fmt.Fprintf(&out, "# of %s\n", owner)
		}
		text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(message(t, r))
		if err != nil {
			t.Fatal(err)
		}
		var short any
		if err := json.Unmarshal(text, &short); err != nil {
			t.Fatal(err)
		}
		text, err = yaml.Marshal(withoutRepetition(short))
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
	}
	return out.String()
}

// withoutRepetition shortens what every golden would repeat: the source of
// all resources, type URLs' common beginning, and scripts.
func withoutRepetition(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = withoutRepetition(v[i])
		}
	case map[string]any:
		if _, ok := v["ads"]; ok {
			return "ads"
		}
		for key, inner := range v {
			v[key] = withoutRepetition(inner)
		}
	case string:
		if strings.HasPrefix(v, "--") {
			return "(script)"
		}
		return strings.TrimPrefix(v, "type.googleapis.com/")
	}
	return v
}
