package redirect

import (
	"net/netip"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"

	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
	"github.com/waggle-mesh/waggle/test/nodes"
)

// TestSameWork: what is compared does the same work for a request. The two
// Envoys differ in how connections come to them and go on, and in that the
// redirected one tells a refused connection from others.
func TestSameWork(t *testing.T) {
	node := &nodes.Node{Machine: nodes.Machine{Name: "n", Addr4: netip.MustParseAddr("192.0.2.1"), Addr6: netip.MustParseAddr("2001:db8::1")}}
	backends := map[int]netip.AddrPort{4: netip.MustParseAddrPort("192.0.2.2:80")}
	static := read[bootstrapv3.Bootstrap](staticBootstrap(node, backends)(t.TempDir())).StaticResources
	resources, _ := redirected(render.Node{Ingress4: node.Addr4, Ingress6: node.Addr6, FirstPort: 61000, LastPort: 64999}, backends)
	var listener listenerv3.Listener
	var cluster clusterv3.Cluster
	var table routev3.RouteConfiguration
	for _, r := range resources {
		switch r.Type {
		case model.EnvoyListener:
			unpack(r, &listener)
		case model.Cluster:
			unpack(r, &cluster)
		case model.RouteConfiguration:
			unpack(r, &table)
		}
	}
	byHand, led := manager(t, static.Listeners[0]), manager(t, &listener)
	if !proto.Equal(byHand.GetRouteConfig(), &table) {
		t.Errorf("routes: %v, and redirected %v", byHand.GetRouteConfig(), &table)
	}
	if led.LocalReplyConfig == nil {
		t.Error("the redirected one tells no denials")
	}
	for _, m := range []*hcmv3.HttpConnectionManager{byHand, led} {
		m.RouteSpecifier, m.LocalReplyConfig = nil, nil
		m.HttpProtocolOptions.DefaultHostForHttp_10 = ""
	}
	if !proto.Equal(byHand, led) {
		t.Errorf("connection managers: %v, and redirected %v", byHand, led)
	}
	if a, b := static.Clusters[0].PerConnectionBufferLimitBytes.GetValue(), cluster.PerConnectionBufferLimitBytes.GetValue(); a != b {
		t.Errorf("buffers of clusters: %d, and redirected %d", a, b)
	}
}

func manager(t *testing.T, l *listenerv3.Listener) *hcmv3.HttpConnectionManager {
	t.Helper()
	var m hcmv3.HttpConnectionManager
	if err := l.FilterChains[0].Filters[0].GetTypedConfig().UnmarshalTo(&m); err != nil {
		t.Fatal(err)
	}
	return &m
}
