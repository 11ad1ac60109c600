package render

import (
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/waggle-mesh/waggle/internal/model"
)

// route renders r as one route of Envoy's, or as several that stand beside
// each other and share its requests, see split.
func route(r model.Route, host, hostHeader string) []*routev3.Route {
	base := func() *routev3.Route {
		rendered := &routev3.Route{Name: routeName(r.Origin), Match: match(r.Match, hostHeader)}
		rendered.TypedPerFilterConfig = filterConfigs(r, host)
		rendered.RequestHeadersToAdd, rendered.RequestHeadersToRemove = mutation(r.RequestHeaders)
		rendered.ResponseHeadersToAdd, rendered.ResponseHeadersToRemove = mutation(r.ResponseHeaders)
		return rendered
	}
	switch {
	case r.Forward != nil:
		return forward(r, base)
	case r.Redirect != nil:
		rendered := base()
		rendered.Action = redirect(r.Redirect, r.Match.Path, host)
		return []*routev3.Route{rendered}
	default:
		rendered := base()
		rendered.Action = respond(uint32(r.Respond.Status))
		return []*routev3.Route{rendered}
	}
}

// filterConfigs switches on the filters that r needs.
func filterConfigs(r model.Route, host string) map[string]*anypb.Any {
	configs := map[string]*anypb.Any{}
	if r.CORS != nil {
		configs[corsFilter] = packed(cors(r.CORS))
	}
	if r.Redirect != nil && keepsHost(r.Redirect) && isWildcard(host) {
		configs[redirectHostFilter] = packed(&luav3.LuaPerRoute{Override: &luav3.LuaPerRoute_Name{Name: redirectHostScriptName}})
	}
	return configs
}

func respond(status uint32) *routev3.Route_DirectResponse {
	return &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: status}}
}

// match renders m where the Host header is found under hostHeader.
func match(m model.Match, hostHeader string) *routev3.RouteMatch {
	rendered := &routev3.RouteMatch{}
	switch {
	case m.Path.Kind == model.PathExact:
		rendered.PathSpecifier = &routev3.RouteMatch_Path{Path: m.Path.Value}
	case m.Path.Kind == model.PathRegex:
		rendered.PathSpecifier = &routev3.RouteMatch_SafeRegex{SafeRegex: regex(m.Path.Value)}
	case m.Path.Value == "/":
		rendered.PathSpecifier = &routev3.RouteMatch_Prefix{Prefix: "/"}
	default:
		rendered.PathSpecifier = &routev3.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: m.Path.Value}
	}
	if m.Method != "" {
		rendered.Headers = append(rendered.Headers, header(model.ValueMatch{Name: ":method", Value: m.Method}))
	}
	for _, h := range m.Headers {
		if isHost(h.Name) {
			h.Name = hostHeader
		}
		rendered.Headers = append(rendered.Headers, header(h))
	}
	for _, q := range m.Query {
		rendered.QueryParameters = append(rendered.QueryParameters, &routev3.QueryParameterMatcher{
			Name: q.Name,
			QueryParameterMatchSpecifier: &routev3.QueryParameterMatcher_StringMatch{
				StringMatch: value(q),
			},
		})
	}
	return rendered
}

// header matches if the value of any header of the name does.
func header(h model.ValueMatch) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{
		Name:                 h.Name,
		HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: value(h)},
	}
}

func value(v model.ValueMatch) *matcherv3.StringMatcher {
	if v.Regex {
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: regex(v.Value)}}
	}
	return exactly(v.Value)
}

func exactly(text string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: text}}
}

// regex matches the whole of what it is given.
func regex(text string) *matcherv3.RegexMatcher { return &matcherv3.RegexMatcher{Regex: text} }

// literal escapes what Envoy reads operators in.
func literal(text string) string { return strings.ReplaceAll(text, "%", "%%") }
