package render

import (
	"cmp"
	"net/netip"
	"slices"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/waggle-mesh/waggle/internal/model"
)

// What an agent finds out about listeners that it has not rendered, and
// changes in them.

// IsLed tells whether the data path leads connections to a listener. It does
// not where others of the same Envoy do (internal listeners), and where the
// listener is bound to an address that it names itself.
func IsLed(listener model.Resource) bool {
	var l listenerv3.Listener
	unpack(listener, &l)
	return l.Address == nil && l.GetInternalListener() == nil
}

// WholeListener puts a generated listener together of its shares, each of which
// has some of its filter chains. While the shares are being cut in another way
// two may have the same chain: the first one's holds.
func WholeListener(shares []model.Resource) model.Resource {
	var whole listenerv3.Listener
	unpack(shares[0], &whole)
	var owners []model.Ref
	whole.FilterChains = nil
	for _, share := range shares {
		var l listenerv3.Listener
		unpack(share, &l)
		whole.FilterChains = append(whole.FilterChains, l.FilterChains...)
		owners = append(owners, share.Owners...)
	}
	slices.SortStableFunc(whole.FilterChains, func(a, b *listenerv3.FilterChain) int { return cmp.Compare(serverName(a), serverName(b)) })
	whole.FilterChains = slices.CompactFunc(whole.FilterChains, func(a, b *listenerv3.FilterChain) bool { return serverName(a) == serverName(b) })
	return resource(shares[0].Type, shares[0].Name, &whole, distinct(owners)...)
}

// serverName is the one that a chain of a generated listener takes, as its
// model.Chain has it.
func serverName(chain *listenerv3.FilterChain) string {
	if names := chain.GetFilterChainMatch().GetServerNames(); len(names) > 0 {
		return names[0]
	}
	return ""
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

// Assignment renders the endpoints behind ports of a Service under the name by
// which a cluster asks for them. An endpoint may have several addresses: Envoy
// takes the first that it can connect to, and it can from a client's own address
// only in the client's family.
func Assignment(name string, service model.Name, endpoints [][]netip.AddrPort) model.Resource {
	assignment := &endpointv3.ClusterLoadAssignment{ClusterName: name}
	if len(endpoints) > 0 {
		rendered := make([]*endpointv3.LbEndpoint, len(endpoints))
		for i, addresses := range endpoints {
			e := &endpointv3.Endpoint{Address: socketAddress(addresses[0])}
			for _, a := range addresses[1:] {
				e.AdditionalAddresses = append(e.AdditionalAddresses, &endpointv3.Endpoint_AdditionalAddress{Address: socketAddress(a)})
			}
			rendered[i] = &endpointv3.LbEndpoint{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: e}}
		}
		assignment.Endpoints = []*endpointv3.LocalityLbEndpoints{{LbEndpoints: rendered}}
	}
	return resource(model.ClusterLoadAssignment, name, assignment, serviceRef(service))
}
