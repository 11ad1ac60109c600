package render

import (
	"net/netip"
	"slices"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/waggle-mesh/waggle/internal/model"
)

// What an agent finds out about listeners that it has not rendered, and
// changes in them.

// IsInternal tells whether a listener has no address: others of the same Envoy
// lead to it.
func IsInternal(listener model.Resource) bool {
	var l listenerv3.Listener
	unpack(listener, &l)
	return l.GetInternalListener() != nil
}

// RouteTables are the names of the route tables that a listener asks for,
// sorted.
func RouteTables(listener model.Resource) (tables []string) {
	var l listenerv3.Listener
	unpack(listener, &l)
	eachManager(&l, func(m *hcmv3.HttpConnectionManager) bool {
		if name := m.GetRds().GetRouteConfigName(); name != "" {
			tables = append(tables, name)
		}
		return false
	})
	slices.Sort(tables)
	return slices.Compact(tables)
}

// Scoped has a generated listener look for hosts by scopes where its tables are
// served so, see ScopedHost.
func Scoped(listener model.Resource, scoped func(table string) bool) model.Resource {
	if !slices.ContainsFunc(RouteTables(listener), scoped) {
		return listener
	}
	var l listenerv3.Listener
	unpack(listener, &l)
	eachManager(&l, func(m *hcmv3.HttpConnectionManager) bool {
		table := m.GetRds().GetRouteConfigName()
		if table == "" || !scoped(table) {
			return false
		}
		m.RouteSpecifier = &hcmv3.HttpConnectionManager_ScopedRoutes{ScopedRoutes: scopedRoutes(table)}
		m.HttpFilters = append([]*hcmv3.HttpFilter{scopeMiss()}, m.HttpFilters...)
		return true
	})
	return resource(listener.Type, listener.Name, &l, listener.Owners...)
}

// eachManager calls f with each connection manager of a listener, and keeps
// what it has changed when it says that it has.
func eachManager(l *listenerv3.Listener, f func(*hcmv3.HttpConnectionManager) bool) {
	chains := l.FilterChains
	if l.DefaultFilterChain != nil {
		chains = append(slices.Clone(chains), l.DefaultFilterChain)
	}
	for _, chain := range chains {
		for _, filter := range chain.Filters {
			config := filter.GetTypedConfig()
			var m hcmv3.HttpConnectionManager
			if config != nil && config.MessageIs(&m) && config.UnmarshalTo(&m) == nil && f(&m) {
				filter.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: packed(&m)}
			}
		}
	}
}

// Assignment renders the addresses behind ports of a Service under the name by
// which a cluster asks for them.
func Assignment(name string, service model.Name, addresses []netip.AddrPort) model.Resource {
	assignment := &endpointv3.ClusterLoadAssignment{ClusterName: name}
	if len(addresses) > 0 {
		endpoints := make([]*endpointv3.LbEndpoint, len(addresses))
		for i, a := range addresses {
			endpoints[i] = &endpointv3.LbEndpoint{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{
				Endpoint: &endpointv3.Endpoint{Address: socketAddress(a)},
			}}
		}
		assignment.Endpoints = []*endpointv3.LocalityLbEndpoints{{LbEndpoints: endpoints}}
	}
	return resource(model.ClusterLoadAssignment, name, assignment, serviceRef(service))
}
