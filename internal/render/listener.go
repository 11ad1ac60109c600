package render

import (
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	proxyprotocolv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	"google.golang.org/protobuf/proto"

	"github.com/waggle-mesh/waggle/internal/model"
)

// ListenerOptions are what a Listener's row does not say about it.
type ListenerOptions struct {
	// Address is where the listener answers. Invalid: who is led to it by a
	// data path knows.
	Address netip.Addr
	More    []netip.Addr // besides
	// ExclusivePort makes Envoy reject the listener if another process holds
	// the port. Without it the kernel shares connections out between both.
	ExclusivePort bool
	// Scoped tells which route tables are served by scopes, see ScopedHost.
	// Nil: none. Changing it for a table drains the connections to it.
	Scoped  func(table string) bool
	Clients model.Clients
}

// Listener renders a port of a Gateway. It holds nothing that a route, a
// policy or a new certificate could change: Envoy closes all connections of
// a filter chain that differs, and of all chains if more than that differs.
func Listener(l model.Listener, o ListenerOptions) model.Resource {
	listener := &listenerv3.Listener{
		Name:                          l.Key(),
		PerConnectionBufferLimitBytes: number(bufferLimit),
		ListenerFilters:               listenerFilters(o.Clients),
	}
	if o.Address.IsValid() {
		listener.Address = socketAddress(netip.AddrPortFrom(o.Address, l.BindPort))
	}
	for _, a := range o.More {
		listener.AdditionalAddresses = append(listener.AdditionalAddresses,
			&listenerv3.AdditionalAddress{Address: socketAddress(netip.AddrPortFrom(a, l.BindPort))})
	}
	if o.ExclusivePort {
		listener.EnableReusePort = truth(false)
	}
	for _, chain := range l.Chains {
		listener.FilterChains = append(listener.FilterChains, filterChain(l, chain, o))
	}
	return resource(model.EnvoyListener, listener.Name, listener, model.Ref{Kind: "Gateway", Name: l.Gateway})
}

func filterChain(l model.Listener, chain model.Chain, o ListenerOptions) *listenerv3.FilterChain {
	c := connection{
		stats:       l.Key(),
		table:       chain.Table,
		scoped:      o.Scoped != nil && o.Scoped(chain.Table),
		defaultHost: defaultHost(o.Address),
		clients:     o.Clients,
	}
	rendered := &listenerv3.FilterChain{
		Name: chainName(chain.Hostname),
		Filters: []*listenerv3.Filter{{
			Name:       "envoy.filters.network.http_connection_manager",
			ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: packed(c.manager())},
		}},
	}
	if chain.Hostname != "" {
		rendered.FilterChainMatch = &listenerv3.FilterChainMatch{ServerNames: []string{chain.Hostname}}
	}
	if l.Protocol == model.HTTPS {
		rendered.TransportSocket = terminated(chain.Certificates, o.Clients)
	}
	return rendered
}

// listenerFilters look at connections before their first byte is for a chain.
// That for TLS stands on listeners without it too: listener filters are among
// the fields that drain every chain when they change.
func listenerFilters(clients model.Clients) (filters []*listenerv3.ListenerFilter) {
	if clients.ProxyProtocol {
		filters = append(filters, listenerFilter("envoy.filters.listener.proxy_protocol", &proxyprotocolv3.ProxyProtocol{}))
	}
	return append(filters, listenerFilter("envoy.filters.listener.tls_inspector", &tlsinspectorv3.TlsInspector{}))
}

func listenerFilter(name string, config proto.Message) *listenerv3.ListenerFilter {
	return &listenerv3.ListenerFilter{Name: name, ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: packed(config)}}
}

// defaultHost is the Host of an HTTP/1.0 request that has none: where it
// arrived. Hostnames of routes cannot be addresses, so that it goes to the
// catch-all or nowhere.
func defaultHost(a netip.Addr) string {
	if !a.IsValid() {
		a = netip.IPv4Unspecified()
	}
	if a.Is6() && !a.Is4In6() {
		return "[" + a.WithZone("").String() + "]"
	}
	return a.Unmap().String()
}

// clientAddresses are the ranges whose clients get x-envoy-internal: the
// private ones of RFC 1918, RFC 4193 and the loopbacks.
func clientAddresses() []*corev3.CidrRange {
	prefixes := []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "::1/128", "fc00::/7"}
	ranges := make([]*corev3.CidrRange, len(prefixes))
	for i, text := range prefixes {
		p := netip.MustParsePrefix(text)
		ranges[i] = &corev3.CidrRange{AddressPrefix: p.Addr().String(), PrefixLen: number(uint32(p.Bits()))}
	}
	return ranges
}
