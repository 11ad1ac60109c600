package eastwest

import (
	"net/netip"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
	"github.com/waggle-mesh/waggle/test/bench/envoyfile"
)

// TestSameWork: the sidecar and the node's Envoy do the same work for a request.
// They differ in how connections come to them and go on, in names, and in that
// the node's tells a refused connection from others.
func TestSameWork(t *testing.T) {
	backends := map[string]netip.AddrPort{"same4": netip.MustParseAddrPort("192.0.2.2:80")}
	var file bootstrapv3.Bootstrap
	must(protojson.Unmarshal(sidecarFile(backends, map[string]netip.AddrPort{"same4": netip.MustParseAddrPort("127.0.0.1:18080")})(t.TempDir()), &file))
	resources, numbers, listeners := led(render.Node{
		Ingress4: netip.MustParseAddr("192.0.2.1"), Ingress6: netip.MustParseAddr("2001:db8::1"), FirstPort: 61000, LastPort: 64999,
	}, backends)
	if len(numbers) != 1 || numbers[listeners["same4"]] == 0 {
		t.Errorf("listeners are %v, their numbers %v", listeners, numbers)
	}
	var l listenerv3.Listener
	var c clusterv3.Cluster
	var table routev3.RouteConfiguration
	for _, r := range resources {
		into := map[model.ResourceType]proto.Message{model.EnvoyListener: &l, model.Cluster: &c, model.RouteConfiguration: &table}[r.Type]
		if into != nil {
			must(proto.Unmarshal(r.Body, into))
		}
	}
	var inSidecar, onNode hcmv3.HttpConnectionManager
	envoyfile.EditManagers(file.StaticResources.Listeners[0], func(m *hcmv3.HttpConnectionManager) { proto.Merge(&inSidecar, m) })
	envoyfile.EditManagers(&l, func(m *hcmv3.HttpConnectionManager) { proto.Merge(&onNode, m) })
	routes := inSidecar.GetRouteConfig()
	table.Name, table.VirtualHosts[0].Name = routes.Name, routes.VirtualHosts[0].Name
	last := table.VirtualHosts[0].Routes[1].GetRoute()
	if last.GetCluster() != c.Name {
		t.Errorf("the node's Envoy has cluster %s, its route leads to %s", c.Name, last.GetCluster())
	}
	last.ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: file.StaticResources.Clusters[0].Name}
	if !proto.Equal(routes, &table) {
		t.Errorf("routes of the sidecar: %v\nof the node's Envoy: %v", routes, &table)
	}
	if onNode.LocalReplyConfig == nil {
		t.Error("the node's Envoy tells no denials")
	}
	for _, m := range []*hcmv3.HttpConnectionManager{&inSidecar, &onNode} {
		m.RouteSpecifier, m.LocalReplyConfig, m.StatPrefix = nil, nil, ""
	}
	if !proto.Equal(&inSidecar, &onNode) {
		t.Errorf("connection manager of the sidecar: %v\nof the node's Envoy: %v", &inSidecar, &onNode)
	}
	if a, b := file.StaticResources.Clusters[0].PerConnectionBufferLimitBytes.GetValue(), c.PerConnectionBufferLimitBytes.GetValue(); a != b {
		t.Errorf("buffers of the sidecar's cluster: %d, of the node's %d", a, b)
	}
}
