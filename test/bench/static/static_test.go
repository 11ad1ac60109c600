package static_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/yaml"

	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
	"github.com/waggle-mesh/waggle/test/bench/static"
)

// The same Gateway, port and backend as both sides call them.
const listen, table = 10080, "default|web|10080|"

var service = model.Name{Namespace: "default", Name: "backend"}

// TestSameSettings sees to it that the hand-written Envoy has the settings
// that Waggle renders, but for what is listed: "-" stands in the hand-written
// file alone, "+" is rendered alone.
func TestSameSettings(t *testing.T) {
	for _, one := range []struct {
		what     string
		allowed  []string
		hand     proto.Message
		rendered proto.Message
	}{
		{"bootstrap", []string{
			// Waggle's comes from its control plane.
			`+ node.cluster = "waggle"`,
			// For listeners of CiliumEnvoyConfigs within Envoy.
			`+ bootstrap_extensions.0.name = "envoy.bootstrap.internal_listener"`,
			`+ node.id = "node"`,
		}, withoutResources(hand(t, false)), withoutResources(bootstrap(t, render.Bootstrap(render.BootstrapOptions{NodeID: "node", AdminSocket: "dir/same.sock"})))},
		{"listener", []string{
			// Names.
			`+ filter_chains.0.filters.0.typed_config.stat_prefix = "default|web|10080"`,
			`- filter_chains.0.filters.0.typed_config.stat_prefix = "http"`,
			`+ name = "default|web|10080"`,
			`- name = "http"`,
			// What only some routes switch on.
			`+ filter_chains.0.filters.0.typed_config.http_filters.envoy.filters.http.cors.disabled = true`,
			`+ filter_chains.0.filters.0.typed_config.http_filters.envoy.filters.http.cors.name = "envoy.filters.http.cors"`,
			`+ filter_chains.0.filters.0.typed_config.http_filters.waggle.redirect_host.disabled = true`,
			`+ filter_chains.0.filters.0.typed_config.http_filters.waggle.redirect_host.name = "waggle.redirect_host"`,
		}, withoutRoutes(t, hand(t, false).StaticResources.Listeners[0]), withoutRoutes(t, rendered(t, &listenerv3.Listener{}, listener()))},
		{"routes", []string{
			// Names.
			`+ name = "default|web|10080|"`,
			`- name = "routes"`,
			`+ virtual_hosts.0.name = "*"`,
			`- virtual_hosts.0.name = "any"`,
			`+ virtual_hosts.0.routes.0.name = "HTTPRoute|default|any|0"`,
			`+ virtual_hosts.0.routes.0.route.cluster = "default|backend|80|"`,
			`- virtual_hosts.0.routes.0.route.cluster = "backend"`,
			// What no rule matches.
			`+ virtual_hosts.0.routes.1.direct_response.status = 404`,
			`+ virtual_hosts.0.routes.1.match.prefix = "/"`,
			`+ virtual_hosts.0.routes.1.name = "unrouted"`,
		}, routes(t, hand(t, false)), rendered(t, &routev3.RouteConfiguration{}, anyHost())},
		{"cluster", clusterDifference(""), withoutEndpoints(hand(t, false).StaticResources.Clusters[0]), rendered(t, &clusterv3.Cluster{}, render.Cluster(backend("")))},
		{"cluster of HTTP/2", clusterDifference(model.BackendH2C), withoutEndpoints(hand(t, true).StaticResources.Clusters[0]), rendered(t, &clusterv3.Cluster{}, render.Cluster(backend(model.BackendH2C)))},
	} {
		t.Run(one.what, func(t *testing.T) {
			got := difference(lines(t, one.hand), lines(t, one.rendered))
			for _, line := range got {
				if !slices.Contains(one.allowed, line) {
					t.Errorf("another difference: %s", line)
				}
			}
			for _, line := range one.allowed {
				if !slices.Contains(got, line) {
					t.Errorf("no such difference: %s", line)
				}
			}
		})
	}
}

// clusterDifference is that Waggle's endpoints come separately.
func clusterDifference(p model.BackendProtocol) []string {
	return []string{
		`+ eds_cluster_config.service_name = "default/backend:80"`,
		fmt.Sprintf(`+ name = "default|backend|80|%s"`, p),
		`- name = "backend"`,
		`+ type = "EDS"`,
		`- type = "STATIC"`,
	}
}

func backend(p model.BackendProtocol) model.Backend {
	return model.Backend{Service: service, Port: 80, Protocol: p}
}

func listener() model.Resource {
	l := model.Listener{
		Gateway: model.Name{Namespace: "default", Name: "web"}, Port: listen, BindPort: listen,
		Protocol: model.HTTP, Chains: []model.Chain{{Table: table}},
	}
	return render.Listener(l, render.ListenerOptions{Address: netip.MustParseAddr("127.0.0.1"), ExclusivePort: true})
}

func anyHost() model.Resource {
	any := model.Ref{Kind: "HTTPRoute", Name: model.Name{Namespace: "default", Name: "any"}}
	return render.RouteConfiguration(table, []render.Host{render.VirtualHost(model.VirtualHost{
		Table: table, Host: "*",
		Routes: []model.Route{{
			Origin:  model.Origin{Object: any},
			Match:   model.Match{Path: model.PathMatch{Kind: model.PathPrefix, Value: "/"}},
			Forward: &model.Forward{Backends: []model.WeightedBackend{{Backend: backend(""), Weight: 1}}},
		}},
	})})
}

// hand is the hand-written file.
func hand(t *testing.T, h2 bool) *bootstrapv3.Bootstrap {
	t.Helper()
	text, err := static.Text(static.EnvoySame, static.Input{Dir: "dir", Listen: listen, Backend: 8080, H2: h2})
	if err != nil {
		t.Fatal(err)
	}
	content, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return bootstrap(t, content)
}

func bootstrap(t *testing.T, content []byte) *bootstrapv3.Bootstrap {
	t.Helper()
	b := &bootstrapv3.Bootstrap{}
	if err := protojson.Unmarshal(content, b); err != nil {
		t.Fatal(err)
	}
	return b
}

func rendered[M proto.Message](t *testing.T, m M, r model.Resource) M {
	t.Helper()
	if err := proto.Unmarshal(r.Body, m); err != nil {
		t.Fatal(err)
	}
	return m
}

// withoutResources leaves what is compared on its own, or is where the other
// side has a control plane.
func withoutResources(b *bootstrapv3.Bootstrap) *bootstrapv3.Bootstrap {
	b.StaticResources, b.DynamicResources = nil, nil
	return b
}

func withoutEndpoints(c *clusterv3.Cluster) *clusterv3.Cluster {
	c.LoadAssignment = nil
	return c
}

func withoutRoutes(t *testing.T, l *listenerv3.Listener) *listenerv3.Listener {
	t.Helper()
	m := manager(t, l)
	m.RouteSpecifier = nil
	if err := l.FilterChains[0].Filters[0].GetTypedConfig().MarshalFrom(m); err != nil {
		t.Fatal(err)
	}
	return l
}

func routes(t *testing.T, b *bootstrapv3.Bootstrap) *routev3.RouteConfiguration {
	return manager(t, b.StaticResources.Listeners[0]).GetRouteConfig()
}

func manager(t *testing.T, l *listenerv3.Listener) *hcmv3.HttpConnectionManager {
	t.Helper()
	m := &hcmv3.HttpConnectionManager{}
	if err := l.FilterChains[0].Filters[0].GetTypedConfig().UnmarshalTo(m); err != nil {
		t.Fatal(err)
	}
	return m
}

// elsewhere are fields that are not compared: where resources come from, what
// filters do that are off, and types, which the names tell.
var elsewhere = []string{"eds_config", "source_codes", "clear_route_cache", "@type"}

// lines is a line for every other field that is set.
func lines(t *testing.T, m proto.Message) []string {
	t.Helper()
	content, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(content, &v); err != nil {
		t.Fatal(err)
	}
	var all []string
	var walk func(path []string, v any)
	walk = func(path []string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, inner := range v {
				if !slices.Contains(elsewhere, key) {
					walk(append(slices.Clone(path), key), inner)
				}
			}
		case []any:
			for i, inner := range v {
				key := fmt.Sprint(i)
				if path[len(path)-1] == "http_filters" {
					key = inner.(map[string]any)["name"].(string) // which stand in another order
				}
				walk(append(slices.Clone(path), key), inner)
			}
		case string:
			all = append(all, fmt.Sprintf("%s = %q", strings.Join(path, "."), v))
		default:
			all = append(all, fmt.Sprintf("%s = %v", strings.Join(path, "."), v))
		}
	}
	walk(nil, v)
	return all
}

// difference has what is in hand alone and what is in rendered alone.
func difference(hand, rendered []string) []string {
	var all []string
	for _, line := range hand {
		if !slices.Contains(rendered, line) {
			all = append(all, "- "+line)
		}
	}
	for _, line := range rendered {
		if !slices.Contains(hand, line) {
			all = append(all, "+ "+line)
		}
	}
	return all
}
