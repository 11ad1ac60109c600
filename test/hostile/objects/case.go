// Package objects has CiliumEnvoyConfigs that reach for what they may not, or
// make no sense, for tests that show that they come to nothing; and some that
// are accepted, for tests that show that others do not feel them.
package objects

import (
	"embed"
	"fmt"
	"maps"
	"path"
	"strings"

	"sigs.k8s.io/yaml"
)

//go:embed *.yaml
var files embed.FS

// Load reads all cases, by family. Those of a family are in order.
func Load() (map[string][]Case, error) {
	all := map[string][]Case{}
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		text, err := files.ReadFile(e.Name())
		if err != nil {
			return nil, err
		}
		var cases []Case
		if err := yaml.UnmarshalStrict(text, &cases); err != nil {
			return nil, fmt.Errorf("read %s: %w", e.Name(), err)
		}
		all[strings.TrimSuffix(e.Name(), path.Ext(e.Name()))] = cases
	}
	return all, nil
}

// Case is one object, written as what it changes in one that is good:
// a CiliumEnvoyConfig of namespace tenant with a listener, a route and a
// cluster. An "@type" is written without its prefix, "~" is envoy.extensions.
type Case struct {
	Name        string `json:"name"`                  // what is wrong with it
	Clusterwide bool   `json:"clusterwide,omitempty"` // a CiliumClusterwideEnvoyConfig
	// Contained is set where the object is accepted: the status of a request
	// to its Service, "none" where there is no answer, or "rejected" where
	// Envoy takes one of its resources not.
	Contained   string            `json:"contained,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Spec        map[string]any    `json:"spec,omitempty"` // fields of the spec

	// Fields of the message that each names. Null takes a field away.
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

// Object writes the case out: the object without its metadata.
func (h Case) Object() map[string]any {
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
