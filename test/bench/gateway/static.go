package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/waggle-mesh/waggle/internal/render"
)

// served is what the Gateway's Envoy has for one route, by its own account.
type served struct {
	listener *listenerv3.Listener
	routes   *routev3.RouteConfiguration
	cluster  *clusterv3.Cluster
}

// readServed reads Envoy's configuration.
func (s *site) readServed() (out served, err error) {
	text, err := s.Admin().Ask(s.ctx, "config", "")
	if err != nil {
		return out, err
	}
	return parseServed(text)
}

func parseServed(text []byte) (out served, err error) {
	var dump struct{ Configs []json.RawMessage }
	if err := json.Unmarshal(text, &dump); err != nil {
		return out, fmt.Errorf("read Envoy's configuration: %w", err)
	}
	read := protojson.UnmarshalOptions{DiscardUnknown: true}
	for _, one := range dump.Configs {
		var packed anypb.Any
		if err := read.Unmarshal(one, &packed); err != nil {
			return out, fmt.Errorf("read Envoy's configuration: %w", err)
		}
		m, err := packed.UnmarshalNew()
		if err != nil {
			return out, err
		}
		if err := out.take(m); err != nil {
			return out, err
		}
	}
	if out.listener == nil || out.routes == nil || out.cluster == nil {
		return out, errors.New("Envoy does not serve the Gateway")
	}
	return out, nil
}

// take takes the newest of what a part of the configuration has.
func (s *served) take(part proto.Message) error {
	into := func(packed *anypb.Any, m proto.Message) error {
		if packed == nil {
			return nil
		}
		return packed.UnmarshalTo(m)
	}
	switch part := part.(type) {
	case *adminv3.ListenersConfigDump:
		for _, l := range part.DynamicListeners {
			s.listener = &listenerv3.Listener{}
			if err := into(l.GetActiveState().GetListener(), s.listener); err != nil {
				return err
			}
		}
	case *adminv3.RoutesConfigDump:
		for _, r := range part.DynamicRouteConfigs {
			s.routes = &routev3.RouteConfiguration{}
			if err := into(r.RouteConfig, s.routes); err != nil {
				return err
			}
		}
	case *adminv3.ClustersConfigDump:
		for _, c := range part.DynamicActiveClusters {
			s.cluster = &clusterv3.Cluster{}
			if err := into(c.Cluster, s.cluster); err != nil {
				return err
			}
		}
	}
	return nil
}

// static is the file of an Envoy at a host port, which has all that the
// Gateway's has but what leads connections to it and marks those that it makes.
func (s served) static(at, backend netip.AddrPort) func(dir string) []byte {
	return func(dir string) []byte {
		b := &bootstrapv3.Bootstrap{}
		must(protojson.Unmarshal(render.Bootstrap(render.BootstrapOptions{NodeID: "static", AdminSocket: filepath.Join(dir, "admin.sock")}), b))
		b.DynamicResources, b.StaticResources = nil, &bootstrapv3.Bootstrap_StaticResources{
			Listeners: []*listenerv3.Listener{s.atPort(at)}, Clusters: []*clusterv3.Cluster{s.toBackend(backend)},
		}
		text, err := protojson.Marshal(b)
		must(err)
		return text
	}
}

func (s served) atPort(at netip.AddrPort) *listenerv3.Listener {
	l := proto.Clone(s.listener).(*listenerv3.Listener)
	l.Address, l.AdditionalAddresses = address(at), nil
	l.Transparent, l.SocketOptions = nil, nil
	var filters []*listenerv3.ListenerFilter
	for _, f := range l.ListenerFilters {
		if f.Name != "envoy.filters.listener.original_dst" {
			filters = append(filters, f)
		}
	}
	l.ListenerFilters = filters
	for _, chain := range l.FilterChains {
		filter := chain.Filters[len(chain.Filters)-1]
		var m hcmv3.HttpConnectionManager
		must(filter.GetTypedConfig().UnmarshalTo(&m))
		m.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: s.routes}
		config, err := anypb.New(&m)
		must(err)
		filter.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: config}
	}
	return l
}

func (s served) toBackend(at netip.AddrPort) *clusterv3.Cluster {
	c := proto.Clone(s.cluster).(*clusterv3.Cluster)
	c.UpstreamBindConfig, c.EdsClusterConfig = nil, nil
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	c.LoadAssignment = &endpointv3.ClusterLoadAssignment{ClusterName: c.Name, Endpoints: []*endpointv3.LocalityLbEndpoints{{
		LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: address(at)}}}},
	}}}
	return c
}

func address(a netip.AddrPort) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: a.Addr().String(), PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(a.Port())},
	}}}
}

func must(err error) {
	if err != nil {
		panic(err) // of what was just read
	}
}
