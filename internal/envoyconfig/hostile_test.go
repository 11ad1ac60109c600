package envoyconfig

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
)

// hostileCase is one object, written as what it changes in one that is good:
// a CiliumEnvoyConfig of namespace tenant with a listener, a route and a
// cluster. An "@type" is written without its prefix, "~" is envoy.extensions.
type hostileCase struct {
	Name        string            `json:"name"`
	Clusterwide bool              `json:"clusterwide,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Spec        map[string]any    `json:"spec,omitempty"`

	Listener map[string]any   `json:"listener,omitempty"`
	Manager  map[string]any   `json:"manager,omitempty"`
	Filter   map[string]any   `json:"filter,omitempty"`  // before the router
	Network  []any            `json:"network,omitempty"` // the network filters
	TLS      map[string]any   `json:"tls,omitempty"`     // the filter chain's DownstreamTlsContext
	Routes   map[string]any   `json:"routes,omitempty"`
	Host     map[string]any   `json:"host,omitempty"`
	Route    map[string]any   `json:"route,omitempty"`
	Action   map[string]any   `json:"action,omitempty"`
	Cluster  map[string]any   `json:"cluster,omitempty"`
	More     []map[string]any `json:"more,omitempty"` // further resources
}

// tree is a mapping.
type tree = map[string]any

// object writes the case out.
func (h hostileCase) object() tree {
	router := tree{"name": "envoy.filters.http.router", "typed_config": tree{"@type": "~filters.http.router.v3.Router"}}
	filters := []any{router}
	if h.Filter != nil {
		filters = []any{h.Filter, router}
	}
	manager := merged(tree{
		"@type": "~filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "x",
		"rds": tree{"route_config_name": "routes"}, "http_filters": filters,
	}, h.Manager)
	chain := tree{"filters": []any{tree{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}}}
	if h.Network != nil {
		chain["filters"] = h.Network
	}
	if h.TLS != nil {
		chain["transport_socket"] = tree{"name": "envoy.transport_sockets.tls", "typed_config": merged(
			tree{"@type": "~transport_sockets.tls.v3.DownstreamTlsContext"}, h.TLS)}
	}
	action := merged(tree{"cluster": "web"}, h.Action)
	if h.Action["weighted_clusters"] != nil || h.Action["cluster_header"] != nil || h.Action["cluster_specifier_plugin"] != nil || h.Action["inline_cluster_specifier_plugin"] != nil {
		delete(action, "cluster")
	}
	route := merged(tree{"match": tree{"prefix": "/"}, "route": action}, h.Route)
	if h.Route["redirect"] != nil || h.Route["direct_response"] != nil {
		delete(route, "route")
	}
	host := merged(tree{"name": "all", "domains": []any{"*"}, "routes": []any{route}}, h.Host)
	resources := []any{
		merged(tree{"@type": "envoy.config.listener.v3.Listener", "name": "listener", "filter_chains": []any{chain}}, h.Listener),
		merged(tree{"@type": "envoy.config.route.v3.RouteConfiguration", "name": "routes", "virtual_hosts": []any{host}}, h.Routes),
		merged(tree{"@type": "envoy.config.cluster.v3.Cluster", "name": "web", "type": "EDS", "eds_cluster_config": tree{"service_name": "tenant/web:80"}}, h.Cluster),
	}
	for _, r := range h.More {
		resources = append(resources, r)
	}
	spec := merged(tree{"services": []any{tree{"name": "web", "namespace": "tenant"}}, "resources": resources}, h.Spec)
	return expand(tree{"spec": spec}).(tree)
}

func merged(base, change tree) tree {
	out := maps.Clone(base)
	for key, value := range change {
		if value == nil {
			delete(out, key)
			continue
		}
		out[key] = value
	}
	return out
}

// expand writes short types out.
func expand(x any) any {
	switch x := x.(type) {
	case tree:
		out := tree{}
		for key, value := range x {
			if s, ok := value.(string); ok && key == "@type" && !strings.Contains(s, "/") {
				value = "type.googleapis.com/" + strings.Replace(s, "~", "envoy.extensions.", 1)
			}
			out[key] = expand(value)
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i := range x {
			out[i] = expand(x[i])
		}
		return out
	}
	return x
}

// of makes the case's Object.
func (h hostileCase) of(t testing.TB) Object {
	text, err := json.Marshal(h.object())
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
spec: {clusterIP: 10.96.0.7, ports: [{name: http, port: 80}, {name: dns, port: 53, protocol: UDP}]}
---
kind: Service
metadata: {name: kubernetes}
spec: {clusterIP: 10.96.0.1, ports: [{port: 443}]}
---
kind: Service
metadata: {name: shared, namespace: other, annotations: {granted: tenant}}
spec: {clusterIP: 10.96.0.8, ports: [{port: 80}]}
`

// hostileCases reads the cases, by file.
func hostileCases(t testing.TB) map[string][]hostileCase {
	files, err := filepath.Glob("testdata/hostile/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]hostileCase{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var cases []hostileCase
		if err := yaml.UnmarshalStrict(text, &cases); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[strings.TrimSuffix(file, ".yaml")] = cases
	}
	return all
}

// TestHostile: every object in testdata/hostile is refused, or is invalid,
// with the reasons in the file beside it; the one that they change is not.
func TestHostile(t *testing.T) {
	w := read(t, strings.TrimSpace(hostileWorld)).world()
	for _, clusterwide := range []bool{false, true} {
		if good := Parse(hostileCase{Clusterwide: clusterwide}.of(t), w); len(good.Problems)+len(good.Unresolved)+len(good.Warnings) > 0 {
			t.Fatalf("the good object: %v %v %v", good.Problems, good.Unresolved, good.Warnings)
		}
	}
	number := 0
	all := hostileCases(t)
	for _, file := range slices.Sorted(maps.Keys(all)) {
		var got strings.Builder
		for _, h := range all[file] {
			number++
			p := Parse(h.of(t), w)
			fmt.Fprintf(&got, "%s\n", h.Name)
			for _, problem := range p.Problems {
				fmt.Fprintf(&got, "  %s: %s\n", problem.Reason, problem)
			}
			if len(p.Problems) == 0 {
				t.Errorf("%s: %q is accepted", file, h.Name)
			}
			if len(p.Resources)+len(p.Fragments)+len(p.Claims)+len(p.Assignments) > 0 {
				t.Errorf("%s: %q has resources", file, h.Name)
			}
		}
		if *update {
			if err := os.WriteFile(file+".want", []byte(got.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		} else if want, _ := os.ReadFile(file + ".want"); string(want) != got.String() {
			t.Errorf("%s:\n%s\nwant\n%s\n(go test -update rewrites it)", file, got.String(), want)
		}
	}
	if number < 100 {
		t.Errorf("only %d objects", number)
	}
}
