// Package envoyfile makes the files of Envoys that nobody tells anything: what
// benchmarks compare those of Waggle with. Their listeners, rules and clusters
// are those of an Envoy of Waggle's, so that both do the same work.
package envoyfile

import (
	"net/netip"
	"path/filepath"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/waggle-mesh/waggle/internal/render"
)

// Write gives the file of an Envoy with these listeners and clusters, and else
// what Waggle's have; its administration is in dir.
func Write(dir string, listeners []*listenerv3.Listener, clusters []*clusterv3.Cluster) []byte {
	b := &bootstrapv3.Bootstrap{}
	must(protojson.Unmarshal(render.Bootstrap(render.BootstrapOptions{NodeID: "static", AdminSocket: filepath.Join(dir, "admin.sock")}), b))
	b.DynamicResources, b.StaticResources = nil, &bootstrapv3.Bootstrap_StaticResources{Listeners: listeners, Clusters: clusters}
	text, err := protojson.Marshal(b)
	must(err)
	return text
}

// Address is an address as Envoy has it.
func Address(a netip.AddrPort) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: a.Addr().String(), PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(a.Port())},
	}}}
}

// EditManagers changes the connection managers of a listener.
func EditManagers(l *listenerv3.Listener, edit func(*hcmv3.HttpConnectionManager)) {
	for _, chain := range l.FilterChains {
		filter := chain.Filters[len(chain.Filters)-1]
		var m hcmv3.HttpConnectionManager
		must(filter.GetTypedConfig().UnmarshalTo(&m))
		edit(&m)
		config, err := anypb.New(&m)
		must(err)
		filter.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: config}
	}
}

// SetRoutes puts routes where a listener would ask for them.
func SetRoutes(l *listenerv3.Listener, table *routev3.RouteConfiguration) {
	EditManagers(l, func(m *hcmv3.HttpConnectionManager) {
		m.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: table}
	})
}

// SetBackend gives a cluster its only endpoint, where it would ask for some.
func SetBackend(c *clusterv3.Cluster, at netip.AddrPort) {
	c.EdsClusterConfig = nil
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	c.LoadAssignment = &endpointv3.ClusterLoadAssignment{ClusterName: c.Name, Endpoints: []*endpointv3.LocalityLbEndpoints{{
		LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: Address(at)}}}},
	}}}
}

func must(err error) {
	if err != nil {
		panic(err) // of resources that Waggle has made
	}
}
