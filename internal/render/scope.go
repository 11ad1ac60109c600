package render

import (
	_ "embed"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/waggle-mesh/waggle/internal/model"
)

// A table of many hosts is served by scopes: each exact host has its own
// small RouteConfiguration, and Envoy finds it by the Host header's text.
//
//	Host: a.example.com        ─▶ scope "a.example.com"    ─▶ table|a.example.com
//	Host: a.example.com:8080   ─▶ scope "a.example.com:8080" ─┘
//	anything else              ─▶ scopemiss.lua ─▶ the scope of the name without
//	                              case, port and dot; failing that, scope "*"
//	                                                       ─▶ table: its wildcard hosts
//
// An edit then costs the same in a table of any size. A request that hits at
// once costs what it costs without scopes: the filter is not even made.

const (
	// ScopedAbove is the number of hosts above which a table is better
	// served by scopes: one edit in one RouteConfiguration costs Envoy about
	// 10 µs of CPU per host.
	ScopedAbove = 300
	// ScopedUntil is the number of hosts down to which a scoped table stays
	// so. Changing over drains connections: it must not happen often.
	ScopedUntil = 200

	luaFilter = "envoy.filters.http.lua"

	// wildcardScope leads to the wildcard hosts of a table. It is not a Host
	// header that a client can expect anything from.
	wildcardScope = "*"
	// canonicalHost carries the name that wildcard hosts are matched with,
	// while the Host header names their scope. Backends never see it.
	canonicalHost = "x-waggle-host"
)

//go:embed scopemiss.lua
var scopeMiss string

// ScopedHost renders an exact host of a scoped table: its routes, and the
// scopes by which the Host header leads to them. Port is the one that
// clients connect to; a client that names another port is found as well,
// only not as fast.
func ScopedHost(h Host, port uint16) []model.Resource {
	routes := hostTableName(h.Table, h.Name)
	return []model.Resource{
		assemble(routes, scopedHeader(routes, ""), h.Owners, h),
		scope(h.Table, h.Name, routes, h.Owners),
		scope(h.Table, withPort(h.Name, port), routes, h.Owners),
	}
}

// ScopedWildcards renders the hosts of a scoped table that are no exact
// hosts. A scoped table always has this part, with or without hosts.
func ScopedWildcards(table string, wildcards []Host) []model.Resource {
	name := tableName(table)
	owners := ownersOf(wildcards)
	return []model.Resource{
		assemble(name, scopedHeader(name, canonicalHost), owners, wildcards...),
		scope(table, wildcardScope, name, owners),
	}
}

// scopedHeader is a RouteConfiguration whose requests need not be looked up
// again: the filter for misses is off.
func scopedHeader(name, hostHeader string) *routev3.RouteConfiguration {
	header := routeConfigurationHeader(name)
	header.VhostHeader = hostHeader
	header.TypedPerFilterConfig = perFilter(luaFilter, &routev3.FilterConfig{Disabled: true})
	return header
}

func scope(table, key, routes string, owners []model.Ref) model.Resource {
	s := &routev3.ScopedRouteConfiguration{
		Name:                   scopeName(table, key),
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
					Name:        ":authority",
					ExtractType: &hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor_Index{},
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

func scopeMissFilter() *hcmv3.HttpFilter {
	return httpFilter(luaFilter, &luav3.Lua{DefaultSourceCode: &corev3.DataSource{
		Specifier: &corev3.DataSource_InlineString{InlineString: scopeMiss},
	}})
}
