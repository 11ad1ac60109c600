package render

import (
	"time"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"

	"github.com/waggle-mesh/waggle/internal/model"
)

// Names of HTTP filters, by which routes configure them.
const (
	corsFilter         = "envoy.filters.http.cors"
	redirectHostFilter = "waggle.redirect_host"
	routerFilter       = "envoy.filters.http.router"
)

// connection is how one filter chain treats its clients.
type connection struct {
	stats       string // where its counters stand: http.<stats>.…
	table       string
	scoped      bool
	defaultHost string
	clients     model.Clients
}

// manager renders the connection manager for clients that nobody vouches
// for, after Envoy's advice for edge proxies.
func (c connection) manager() *hcmv3.HttpConnectionManager {
	m := &hcmv3.HttpConnectionManager{
		StatPrefix:  c.stats,
		HttpFilters: c.filters(),
		UpgradeConfigs: []*hcmv3.HttpConnectionManager_UpgradeConfig{
			{UpgradeType: "websocket"},
		},
		// Responses keep the backend's Server header; Envoy adds none.
		ServerHeaderTransformation: hcmv3.HttpConnectionManager_PASS_THROUGH,
	}
	c.trustNobody(m)
	c.bound(m)
	if c.scoped {
		m.RouteSpecifier = &hcmv3.HttpConnectionManager_ScopedRoutes{ScopedRoutes: scopedRoutes(c.table)}
	} else {
		m.RouteSpecifier = &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{
			ConfigSource: fromControlPlane(), RouteConfigName: tableName(c.table),
		}}
	}
	return m
}

// trustNobody decides whose word about the client is taken, and makes
// requests that could be read in two ways readable in one.
func (c connection) trustNobody(m *hcmv3.HttpConnectionManager) {
	m.UseRemoteAddress = truth(!c.clients.Said)
	m.XffNumTrustedHops = c.clients.TrustedHops
	m.InternalAddressConfig = &hcmv3.HttpConnectionManager_InternalAddressConfig{CidrRanges: clientAddresses()}
	m.EarlyHeaderMutationExtensions = []*corev3.TypedExtensionConfig{extension("envoy.http.early_header_mutation.header_mutation", withoutControl())}
	m.NormalizePath = truth(true)
	m.MergeSlashes = true
	m.PathWithEscapedSlashesAction = hcmv3.HttpConnectionManager_UNESCAPE_AND_REDIRECT
	m.HttpProtocolOptions = &corev3.Http1ProtocolOptions{AcceptHttp_10: true, DefaultHostForHttp_10: c.defaultHost}
}

// withoutControl removes what would steer Envoy: a client in a private range
// counts as internal, and an internal client may set retries, timeouts and
// more by headers. Envoy adds its own x-envoy headers after this.
func withoutControl() *earlyv3.HeaderMutation {
	return &earlyv3.HeaderMutation{Mutations: []*mutationv3.HeaderMutation{{
		Action: &mutationv3.HeaderMutation_RemoveOnMatch_{RemoveOnMatch: &mutationv3.HeaderMutation_RemoveOnMatch{
			KeyMatcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: "x-envoy-"}},
		}},
	}}}
}

// bound limits what one client may hold on to. The time for a whole request
// is the route's to bound.
func (c connection) bound(m *hcmv3.HttpConnectionManager) {
	m.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{
		IdleTimeout: duration(time.Hour),
		// A backend that maps '_' and '-' to one variable (CGI, WSGI) would
		// take x_real_ip for x-real-ip.
		HeadersWithUnderscoresAction: corev3.HttpProtocolOptions_REJECT_REQUEST,
	}
	m.Http2ProtocolOptions = &corev3.Http2ProtocolOptions{
		MaxConcurrentStreams:        number(100),
		InitialStreamWindowSize:     number(64 << 10),
		InitialConnectionWindowSize: number(1 << 20),
		ConnectionKeepalive:         &corev3.KeepaliveSettings{Interval: duration(30 * time.Second), Timeout: duration(10 * time.Second)},
	}
	m.StreamIdleTimeout = duration(5 * time.Minute)
	m.RequestHeadersTimeout = duration(30 * time.Second)
}

// filters is the same for every listener of a kind and for every route.
func (c connection) filters() []*hcmv3.HttpFilter {
	filters := routeFilters()
	for _, f := range filters {
		f.Disabled = true
	}
	if c.scoped {
		filters = append([]*hcmv3.HttpFilter{scopeMiss()}, filters...)
	}
	return append(filters, httpFilter(routerFilter, &routerv3.Router{
		// No x-envoy headers for backends and clients beyond those of the
		// connection manager, and no counters per route.
		SuppressEnvoyHeaders: true,
		DynamicStats:         truth(false),
	}))
}

// routeFilters do nothing but for routes that configure them, see
// filterConfigs. For all other requests they are off, and cost nothing.
func routeFilters() []*hcmv3.HttpFilter {
	return []*hcmv3.HttpFilter{
		httpFilter(corsFilter, &corsv3.Cors{}),
		httpFilter(redirectHostFilter, &luav3.Lua{
			SourceCodes:     map[string]*corev3.DataSource{redirectHostScriptName: inlineString(redirectHostScript)},
			ClearRouteCache: truth(false),
		}),
	}
}

func httpFilter(name string, config proto.Message) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: packed(config)}}
}

func inlineString(text string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: text}}
}
