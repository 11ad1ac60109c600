package gateway

import (
	"fmt"
	"net/netip"
	"testing"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
	"github.com/waggle-mesh/waggle/test/bench/envoyfile"
)

func packed(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestSameWork: the static Envoy's file has what the Gateway's Envoy serves, but
// for what leads connections to it and marks those that it makes.
func TestSameWork(t *testing.T) {
	node := render.Node{Ingress4: netip.MustParseAddr("192.0.2.1"), Ingress6: netip.MustParseAddr("2001:db8::1"), FirstPort: 61000, LastPort: 64999}
	name := model.Name{Namespace: "default", Name: "gw"}
	row := model.Listener{Gateway: name, Port: 80, BindPort: 80, Protocol: model.HTTP, Chains: []model.Chain{{Table: "table"}}}
	var l listenerv3.Listener
	var c clusterv3.Cluster
	table := &routev3.RouteConfiguration{Name: "table", VirtualHosts: []*routev3.VirtualHost{{Name: "v", Domains: []string{"a.example"}}}}
	for r, into := range map[*model.Resource]proto.Message{
		new(node.Listener(render.Listener(row, render.ListenerOptions{}), 1, render.FromGateway)):     &l,
		new(node.Cluster(render.Cluster(model.Backend{Service: name, Port: 80}), render.FromGateway)): &c,
	} {
		if err := proto.Unmarshal(r.Body, into); err != nil {
			t.Fatal(err)
		}
	}
	var configs []string
	for _, part := range []proto.Message{
		&adminv3.ClustersConfigDump{DynamicActiveClusters: []*adminv3.ClustersConfigDump_DynamicCluster{{Cluster: packed(t, &c)}}},
		&adminv3.ListenersConfigDump{DynamicListeners: []*adminv3.ListenersConfigDump_DynamicListener{{
			ActiveState: &adminv3.ListenersConfigDump_DynamicListenerState{Listener: packed(t, &l)},
		}}},
		&adminv3.RoutesConfigDump{DynamicRouteConfigs: []*adminv3.RoutesConfigDump_DynamicRouteConfig{{RouteConfig: packed(t, table)}}},
	} {
		text, err := protojson.Marshal(packed(t, part))
		if err != nil {
			t.Fatal(err)
		}
		configs = append(configs, string(text))
	}
	served, err := parseServed(fmt.Appendf(nil, `{"configs":[%s,%s,%s]}`, configs[0], configs[1], configs[2]))
	if err != nil {
		t.Fatal(err)
	}
	var file bootstrapv3.Bootstrap
	at, backend := netip.MustParseAddrPort("192.0.2.1:18080"), netip.MustParseAddrPort("192.0.2.9:80")
	if err := protojson.Unmarshal(served.static(at, backend)(t.TempDir()), &file); err != nil {
		t.Fatal(err)
	}
	byHand, inFile := file.StaticResources.Listeners[0], file.StaticResources.Clusters[0]
	if len(byHand.ListenerFilters) != len(l.ListenerFilters) || byHand.Transparent != nil || len(byHand.SocketOptions) > 0 || !proto.Equal(byHand.Address, envoyfile.Address(at)) {
		t.Errorf("the listener is %v", byHand)
	}
	if inFile.UpstreamBindConfig != nil || inFile.GetType() != clusterv3.Cluster_STATIC || inFile.PerConnectionBufferLimitBytes.GetValue() != c.PerConnectionBufferLimitBytes.GetValue() {
		t.Errorf("the cluster is %v", inFile)
	}
	var managers [2]hcmv3.HttpConnectionManager
	for i, from := range []*listenerv3.Listener{byHand, &l} {
		envoyfile.EditManagers(from, func(m *hcmv3.HttpConnectionManager) { proto.Merge(&managers[i], m) })
	}
	if !proto.Equal(managers[0].GetRouteConfig(), table) {
		t.Errorf("its routes are %v", managers[0].GetRouteConfig())
	}
	managers[0].RouteSpecifier, managers[1].RouteSpecifier = nil, nil
	if !proto.Equal(&managers[0], &managers[1]) {
		t.Errorf("its connection manager is %v, the Gateway's %v", &managers[0], &managers[1])
	}
	if _, err := parseServed([]byte(`{"configs":[]}`)); err == nil {
		t.Error("an Envoy without anything serves the Gateway")
	}
}
