package eastwest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/envoyconfig"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
	"github.com/waggle-mesh/waggle/test/bench/envoyfile"
	"github.com/waggle-mesh/waggle/test/bench/load"
)

// manifest is what a user would apply for a Service: /private is forbidden, all
// else is the backend's.
const manifest = `
apiVersion: cilium.io/v2
kind: CiliumEnvoyConfig
metadata: {name: %[1]s, namespace: bench}
spec:
  services: [{name: %[1]s}]
  resources:
  - "@type": type.googleapis.com/envoy.config.listener.v3.Listener
    name: listener
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: %[1]s
          rds: {route_config_name: routes}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  - "@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
    name: routes
    virtual_hosts:
    - name: all
      domains: ["*"]
      routes:
      - {match: {prefix: /private}, direct_response: {status: 403, body: {inline_string: "Access denied\r\n"}}}
      - {match: {prefix: /}, route: {cluster: bench/%[1]s}}
  - {"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: bench/%[1]s, type: EDS, connect_timeout: 5s}
`

// object reads the manifest for a Service.
func object(service string) *ciliumv2.CiliumEnvoyConfig {
	var c ciliumv2.CiliumEnvoyConfig
	must(yaml.UnmarshalStrict(fmt.Appendf(nil, manifest, service), &c))
	return &c
}

// led are the resources of the node's Envoy: what the agent makes of the
// Services' objects. numbers are those of its listeners, by name, and listeners
// the names, by Service.
func led(r render.Node, backends map[string]netip.AddrPort) (all []model.Resource, numbers map[string]uint16, listeners map[string]string) {
	numbers, listeners = map[string]uint16{}, map[string]string{}
	for name, backend := range backends {
		service := &corev1.Service{}
		service.Namespace, service.Name = "bench", name
		service.Spec.ClusterIP = "10.96.0.1"
		service.Spec.Ports = []corev1.ServicePort{{Port: load.Port}}
		parsed := envoyconfig.Parse(envoyconfig.Of(object(name)), envoyconfig.World{
			Service: func(model.Name) *corev1.Service { return service },
			Granted: func(string, model.Name) bool { return false },
			Owns:    func(string, netip.Addr) bool { return false },
		})
		if len(parsed.Problems)+len(parsed.Unresolved) > 0 {
			panic(fmt.Sprint(parsed.Problems, parsed.Unresolved)) // it stands above
		}
		redirects, _ := envoyconfig.Settle(service, parsed.Claims)
		listeners[name] = redirects[0].Listener
		number := uint16(len(numbers) + 1)
		numbers[redirects[0].Listener] = number
		for _, p := range parsed.Resources {
			all = append(all, fitted(r, p, number))
		}
		for _, f := range parsed.Fragments { // of which a table has but one
			all = append(all, model.Resource{ResourceKey: model.ResourceKey{Type: model.RouteConfiguration, Name: f.Table}, Body: f.Body})
		}
		for _, a := range parsed.Assignments {
			all = append(all, render.Assignment(a.Name, a.Service, [][]netip.AddrPort{{backend}}))
		}
	}
	return all, numbers, listeners
}

// fitted gives a resource what the node adds to it.
func fitted(r render.Node, p model.ProxyResource, number uint16) model.Resource {
	source := render.FromIngress
	if p.KeepSource {
		source = render.FromClient
	}
	switch p.Type {
	case model.EnvoyListener:
		return r.Listener(p.Resource, number, source)
	case model.Cluster:
		return r.Cluster(p.Resource, source)
	}
	return p.Resource
}

// sidecarFile is the file of an Envoy that has the same listeners, rules and
// clusters as the user wrote them, at addresses of its pod's loopback.
func sidecarFile(backends, addresses map[string]netip.AddrPort) func(dir string) []byte {
	return func(dir string) []byte {
		var listeners []*listenerv3.Listener
		var clusters []*clusterv3.Cluster
		for name, backend := range backends {
			l, routes, c := written(name)
			l.Name += "-" + name
			l.Address = envoyfile.Address(addresses[name])
			envoyfile.SetRoutes(l, routes)
			envoyfile.SetBackend(c, backend)
			listeners, clusters = append(listeners, l), append(clusters, c)
		}
		return envoyfile.Write(dir, listeners, clusters)
	}
}

// written are the resources of a Service's object, as they stand in it.
func written(service string) (*listenerv3.Listener, *routev3.RouteConfiguration, *clusterv3.Cluster) {
	var all [3]proto.Message
	for i, r := range object(service).Spec.Resources {
		var compact bytes.Buffer
		must(json.Compact(&compact, r.JSON))
		var packed anypb.Any
		must(protojson.Unmarshal(compact.Bytes(), &packed))
		m, err := packed.UnmarshalNew()
		must(err)
		all[i] = m
	}
	return all[0].(*listenerv3.Listener), all[1].(*routev3.RouteConfiguration), all[2].(*clusterv3.Cluster)
}

func must(err error) {
	if err != nil {
		panic(err) // of what stands in this package
	}
}
