package redirect

import (
	"net/netip"
	"path/filepath"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
	"github.com/waggle-mesh/waggle/test/nodes"
)

// staticPorts are where the static Envoy listens, by family: one for each, as
// redirected Services have a listener each.
var staticPorts = map[int]uint16{4: 18080, 6: 18081}

// staticBootstrap is an Envoy that nobody leads anything to: it listens at the
// node's address and has all it needs in its file. Its connection manager,
// rule and cluster are those of the redirected one.
func staticBootstrap(n *nodes.Node, backends map[int]netip.AddrPort) func(dir string) []byte {
	return func(dir string) []byte {
		b := read[bootstrapv3.Bootstrap](render.Bootstrap(render.BootstrapOptions{NodeID: n.Name, AdminSocket: filepath.Join(dir, "admin.sock")}))
		b.DynamicResources, b.StaticResources = nil, &bootstrapv3.Bootstrap_StaticResources{}
		for family, backend := range backends {
			l := listener(family)
			l.BindPort = staticPorts[family]
			r := render.Listener(l, render.ListenerOptions{Address: n.Addr(family)})
			b.StaticResources.Listeners = append(b.StaticResources.Listeners, withRoutes(r, routes(family)))
			b.StaticResources.Clusters = append(b.StaticResources.Clusters, withEndpoint(render.Cluster(backendOf(family)), backend))
		}
		text, err := protojson.Marshal(b)
		must(err)
		return text
	}
}

// read reads what was just written.
func read[T any, M interface {
	*T
	proto.Message
}](text []byte) M {
	m := M(new(T))
	must(protojson.Unmarshal(text, m))
	return m
}

func must(err error) {
	if err != nil {
		panic(err) // of what stands in this package
	}
}

func unpack(r model.Resource, m proto.Message) {
	must(proto.Unmarshal(r.Body, m))
}

// withRoutes puts the routes where xDS would be asked for them.
func withRoutes(r model.Resource, table *routev3.RouteConfiguration) *listenerv3.Listener {
	var l listenerv3.Listener
	unpack(r, &l)
	for _, chain := range l.FilterChains {
		for _, filter := range chain.Filters {
			var m hcmv3.HttpConnectionManager
			must(filter.GetTypedConfig().UnmarshalTo(&m))
			m.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: table}
			config, err := anypb.New(&m)
			must(err)
			filter.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: config}
		}
	}
	return &l
}

func withEndpoint(r model.Resource, at netip.AddrPort) *clusterv3.Cluster {
	var c clusterv3.Cluster
	var one endpointv3.ClusterLoadAssignment
	unpack(r, &c)
	unpack(render.LoadAssignment(model.Endpoints{Addresses: []netip.AddrPort{at}}), &one)
	one.ClusterName = c.Name
	c.ClusterDiscoveryType, c.EdsClusterConfig = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}, nil
	c.LoadAssignment = &one
	return &c
}
