package envoyconfig

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/envoyconfig/allow"
	"github.com/waggle-mesh/waggle/internal/envoyconfig/strict"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/test/hostile/objects"
)

// FuzzResource reads one resource beside the good ones of a tenant's object.
// Whatever comes of it, Envoy is told of no file, no socket, no code and of no
// name outside of the object.
func FuzzResource(f *testing.F) {
	for _, text := range hostileResources(f) {
		f.Add(text)
	}
	w := read(f, strings.TrimSpace(hostileWorld)).world()
	f.Fuzz(func(t *testing.T, text []byte) {
		if json.Valid(text) {
			readContained(t, w, text)
		}
	})
}

// FuzzWalk does the same with messages as Envoy gets them, of which more are
// well formed than of texts.
func FuzzWalk(f *testing.F) {
	for _, text := range hostileResources(f) {
		if m, _ := strict.Decode(text, types); m != nil {
			body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
			if err != nil {
				f.Fatal(err)
			}
			kind := slices.Index(types, string(m.ProtoReflect().Descriptor().FullName()))
			f.Add(byte(kind), body)
		}
	}
	w := read(f, strings.TrimSpace(hostileWorld)).world()
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		mt, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(types[int(kind)%len(types)]))
		if err != nil {
			t.Fatal(err)
		}
		m := mt.New().Interface()
		if proto.Unmarshal(body, m) != nil {
			return
		}
		packed, err := anypb.New(m)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := protojson.Marshal(packed); err == nil {
			readContained(t, w, text)
		}
	})
}

// FuzzNames: a name leads to what the object defines, or to endpoints of a
// Service that it may name, or nowhere.
func FuzzNames(f *testing.F) {
	for _, name := range []string{"web", "tenant/web", "tenant/web:80", "other/shared:*", "other/web", "/envoy-admin", "envoy-admin", "cilium-secrets/x", "tenant/x/web", "a/b/c", "/", ":", ""} {
		f.Add(name)
	}
	w := read(f, strings.TrimSpace(hostileWorld)).world()
	f.Fuzz(func(t *testing.T, name string) {
		p := &parser{o: objectOf(t, objects.Case{}), w: w}
		p.decode()
		n := newNames(p)
		const own = "tenant/x/"
		for _, r := range []allow.Reference{allow.DefineCluster, allow.DefineRoute, allow.DefineListener, allow.DefineSecret, allow.DefineEndpoint} {
			if final, _, problem := n.final(r, name); final != own+name || problem != "" {
				t.Errorf("%s %q is %q, %s", r, name, final, problem)
			}
		}
		for r, kind := range meant {
			if final, _, problem := n.final(r, name); problem == "" && (final != own+name || !n.has(kind, name)) || problem != "" && final != "" {
				t.Errorf("%s %q is %q, %s", r, name, final, problem)
			}
		}
		final, _, problem := n.final(allow.Endpoints, name)
		if problem != "" {
			return
		}
		a, ok := n.asked[final]
		if may := a.Service.Namespace == "tenant" || a.Service.String() == "other/shared"; !ok || !may || final != name || strings.Contains(a.Service.Name, "/") {
			t.Errorf("endpoints %q are %q, those of %v", name, final, a)
		}
	})
}

// hostileResources are the resources of all hostile objects, as JSON.
func hostileResources(f *testing.F) (all [][]byte) {
	for _, cases := range hostileCases(f) {
		for _, h := range cases {
			resources, _ := h.Object()["spec"].(map[string]any)["resources"].([]any)
			for _, r := range resources {
				text, err := json.Marshal(r)
				if err != nil {
					f.Fatal(err)
				}
				all = append(all, text)
			}
		}
	}
	return all
}

// readContained reads a resource beside the good ones of a tenant's object, twice,
// and looks at what Envoy is told.
func readContained(t *testing.T, w World, text []byte) {
	o := objectOf(t, objects.Case{})
	spec := *o.Spec
	spec.Resources = append(spec.Resources[:len(spec.Resources):len(spec.Resources)], ciliumv2.EnvoyResource{JSON: text})
	o.Spec = &spec
	p := Parse(o, w)
	if len(p.Problems) > 0 && len(p.Resources)+len(p.Fragments)+len(p.Claims)+len(p.Assignments) > 0 {
		t.Fatalf("refused and served: %v", p.Problems)
	}
	if again := Parse(o, w); !reflect.DeepEqual(p, again) {
		t.Fatalf("once %v, then %v", p, again)
	}
	for _, r := range p.Resources {
		inspect(t, r.Type, r.Body)
	}
	for _, r := range p.Fragments {
		inspect(t, model.RouteConfiguration, r.Body)
	}
}

// inspect looks, in ways other than the walk's, for what must not be there.
func inspect(t *testing.T, kind model.ResourceType, body []byte) {
	inspectValue(t, treeOf(t, kind, body), "")
}

// clusterFields name clusters.
var clusterFields = map[string]bool{"cluster": true, "cluster_name": true, "collector_cluster": true, "upstream_cluster": true}

func inspectValue(t *testing.T, value any, key string) {
	switch value := value.(type) {
	case map[string]any:
		for name, inner := range value {
			switch name {
			case "pipe", "filename", "environment_variable", "google_grpc", "cluster_header", "socket_options", "upstream_bind_config", "watched_directory":
				t.Fatalf("%s is served: %v", name, inner)
			case "@type":
				if url := inner.(string); strings.Contains(url, ".lua.") || strings.Contains(url, ".wasm.") || strings.Contains(url, "dynamic_modules") {
					t.Fatalf("%s is served", url)
				}
			}
			own := name == "cluster_name" && key == "load_assignment" // the endpoints of a cluster, in it, define nothing
			if s, ok := inner.(string); ok && clusterFields[name] && !own && s != "" && !strings.HasPrefix(s, "tenant/x/") {
				t.Fatalf("%s %q is not the object's", name, s)
			}
			inspectValue(t, inner, name)
		}
	case []any:
		for _, inner := range value {
			inspectValue(t, inner, key)
		}
	}
}

// FuzzDeep is for the stack: nesting has an end.
func FuzzDeep(f *testing.F) {
	f.Add(3)
	f.Add(5000)
	w := read(f, strings.TrimSpace(hostileWorld)).world()
	f.Fuzz(func(t *testing.T, depth int) {
		if depth < 0 || depth > 100_000 {
			return
		}
		open := strings.Repeat(`{"not_rule":`, depth)
		text := `{"@type":"type.googleapis.com/envoy.config.listener.v3.Listener","name":"l","filter_chains":[{"filters":[{"name":"envoy.filters.network.rbac","typed_config":` +
			`{"@type":"type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC","stat_prefix":"x","rules":{"policies":{"p":{"principals":[{"any":true}],"permissions":[` +
			open + `{"any":true}` + strings.Repeat("}", depth) + `]}}}}}]}]}`
		o := objectOf(t, objects.Case{})
		o.Spec = &ciliumv2.CiliumEnvoyConfigSpec{Resources: []ciliumv2.EnvoyResource{{JSON: []byte(text)}}}
		if p := Parse(o, w); depth > 200 && len(p.Problems) == 0 {
			t.Fatalf("depth %d is accepted", depth)
		}
	})
}
