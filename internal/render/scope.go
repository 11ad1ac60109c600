package render

import (
	_ "embed"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	filterchainv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/filter_chain/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/waggle-mesh/waggle/internal/model"
)

// A table of many hosts is served by scopes: each exact host has its own
// small RouteConfiguration, and Envoy finds it by the Host header's text up to
// the first colon.
//
//	Host: a.example.com    ─▶ scope "a.example.com" ─▶ table|a.example.com
//	a.example.com:8080     ────┘
//	A.Example.com.:81      ─▶ scopename.lua, scope "a.example.com" ─┘
//	b.example.com          ─▶ scopewildcard.lua, scope "|" ─▶ table, which
//	                          has the wildcard hosts and the catch-all
//
// An edit then costs the same in a table of any size. A request that hits at
// once does not meet the scripts: they are in one filter, which its routes
// switch off, so that it is not even made. One, because every host's routes say
// so again, and to read that of thousands of hosts costs more than anything
// else about scopes. What the backend sees as Host is in all cases what the
// client sent; so no later filter may clear the route cache.
//
// A host has one scope: at every change of some Envoy copies the names of all.

const (
	// ScopedAbove is the number of hosts above which a table is better
	// served by scopes: one edit in one RouteConfiguration costs Envoy about
	// 10 µs of CPU per host.
	ScopedAbove = 300
	// ScopedUntil is the number of hosts down to which a scoped table stays
	// so. Changing over drains connections: it must not happen often.
	ScopedUntil = 200

	// scopeMissFilter is for a Host header that is the name of no scope. It
	// consists of the others, and of routeFilters.
	scopeMissFilter     = "waggle.scope_miss"
	scopeNameFilter     = "waggle.scope_name"
	scopeWildcardFilter = "waggle.scope_wildcard"

	// wildcardScope leads to the wildcard hosts of a table. Envoy refuses a
	// client's Host header that has a '|'.
	wildcardScope = "|"
	// While the Host header names the scope of the wildcard hosts, these
	// carry the name that they are matched with, and what the client sent.
	canonicalHost = "x-waggle-host"
	sentHost      = "x-waggle-sent-host"
)

var (
	//go:embed scopename.lua
	scopeNameScript string
	//go:embed scopewildcard.lua
	scopeWildcardScript string
)

// ScopedHost renders an exact host of a scoped table: its routes, and the
// scope by which the Host header leads to them.
func ScopedHost(h Host) []model.Resource {
	routes := hostTableName(h.Table, h.Name)
	return []model.Resource{
		assemble(routes, scopedHeader(routes), h.Owners, anyDomain, h),
		scope(scopeName(h.Table, h.Name), h.Name, routes, h.Owners),
	}
}

// ScopedWildcards renders the hosts of a scoped table that are no exact
// hosts. A scoped table always has this part, with or without hosts.
func ScopedWildcards(table string, wildcards []Host) []model.Resource {
	name := wildcardTableName(table)
	owners := ownersOf(wildcards)
	wildcards = slices.Clone(wildcards)
	for i, h := range wildcards {
		if h.scopedBody != nil {
			wildcards[i].body = h.scopedBody
		}
	}
	header := scopedHeader(name)
	header.VhostHeader = canonicalHost
	return []model.Resource{
		assemble(name, header, owners, domains, wildcards...),
		scope(wildcardScopeName(table), wildcardScope, name, owners),
	}
}

// scopedHeader is a RouteConfiguration whose requests need not be looked up
// again: the filter for misses is off.
func scopedHeader(name string) *routev3.RouteConfiguration {
	header := routeConfigurationHeader(name)
	header.TypedPerFilterConfig = map[string]*anypb.Any{scopeMissFilter: packed(&routev3.FilterConfig{Disabled: true})}
	return header
}

func scope(name, key, routes string, owners []model.Ref) model.Resource {
	s := &routev3.ScopedRouteConfiguration{
		Name:                   name,
		RouteConfigurationName: routes,
		Key: &routev3.ScopedRouteConfiguration_Key{Fragments: []*routev3.ScopedRouteConfiguration_Key_Fragment{{
			Type: &routev3.ScopedRouteConfiguration_Key_Fragment_StringKey{StringKey: key},
		}}},
	}
	return resource(model.ScopedRoute, s.Name, s, owners...)
}

// scopedRoutes tells a connection manager to go by the Host header.
func scopedRoutes(table string) *hcmv3.ScopedRoutes {
	return &hcmv3.ScopedRoutes{
		Name: tableName(table),
		ScopeKeyBuilder: &hcmv3.ScopedRoutes_ScopeKeyBuilder{Fragments: []*hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder{{
			Type: &hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor_{
				HeaderValueExtractor: &hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor{
					Name: ":authority",
					// The port is left out. So is most of an IPv6 address,
					// which is no exact host's name.
					ElementSeparator: ":",
					ExtractType:      &hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor_Index{},
				},
			},
		}}},
		RdsConfigSource: fromControlPlane(),
		ConfigSpecifier: &hcmv3.ScopedRoutes_ScopedRds{ScopedRds: &hcmv3.ScopedRds{
			ScopedRdsConfigSource: fromControlPlane(),
			SrdsResourcesLocator:  scopeCollection(table),
		}},
	}
}

// scopeMiss is on for requests that have no route yet, see scopedHeader. Which
// filters to make is decided when a request comes, so it also has those that
// routes switch on: they find their configuration when it is their turn. There
// are two scripts because one can ask for a route once.
func scopeMiss() *hcmv3.HttpFilter {
	chain := &filterchainv3.FilterChain{Filters: []*corev3.TypedExtensionConfig{
		extension(scopeNameFilter, script(scopeNameScript)),
		extension(scopeWildcardFilter, script(scopeWildcardScript)),
	}}
	for _, f := range routeFilters() {
		chain.Filters = append(chain.Filters, &corev3.TypedExtensionConfig{Name: f.Name, TypedConfig: f.GetTypedConfig()})
	}
	return httpFilter(scopeMissFilter, &filterchainv3.FilterChainConfig{DefaultFilterChain: chain})
}

// script is a Lua filter whose changes of headers leave the route as it is:
// the scripts put the Host header back.
func script(text string) *luav3.Lua {
	return &luav3.Lua{DefaultSourceCode: inlineString(text), ClearRouteCache: truth(false)}
}
