package render

import (
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	previoushostsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/waggle-mesh/waggle/internal/model"
)

const million = 1_000_000

// forward renders a route to backends. Base makes the route without action.
func forward(r model.Route, base func() *routev3.Route) []*routev3.Route {
	f := r.Forward
	for _, b := range f.Backends {
		if b.Rewrite != nil && b.Rewrite.Path != nil {
			return split(r, base)
		}
	}
	rendered := base()
	setForward(rendered, r, f.Backends, f.Rewrite)
	return []*routev3.Route{rendered}
}

// split gives every backend a route of its own: only a route can rewrite
// the path. Each takes its share of what those before it left; Envoy draws
// one number per request and compares it with each route's fraction, so the
// fractions add up along the way and the last route takes the rest.
func split(r model.Route, base func() *routev3.Route) []*routev3.Route {
	var total, sum uint64
	for _, b := range r.Forward.Backends {
		total += uint64(b.Weight)
	}
	var routes []*routev3.Route
	for i, b := range r.Forward.Backends {
		rendered := base()
		sum += uint64(b.Weight)
		if i < len(r.Forward.Backends)-1 {
			rendered.Match.RuntimeFraction = fraction(sum, total)
		}
		rewrite := r.Forward.Rewrite
		if b.Rewrite != nil {
			rewrite = merged(rewrite, b.Rewrite)
		}
		b.Rewrite = nil
		setForward(rendered, r, []model.WeightedBackend{b}, rewrite)
		routes = append(routes, rendered)
	}
	return routes
}

// merged is what inner says, and what outer says where inner is silent.
func merged(outer, inner *model.Rewrite) *model.Rewrite {
	m := *inner
	if outer != nil {
		if m.Host == "" {
			m.Host = outer.Host
		}
		if m.Path == nil {
			m.Path = outer.Path
		}
	}
	return &m
}

// fraction is numerator of denominator, in millionths.
func fraction(numerator, denominator uint64) *corev3.RuntimeFractionalPercent {
	return &corev3.RuntimeFractionalPercent{DefaultValue: &typev3.FractionalPercent{
		Numerator:   uint32((numerator*million + denominator/2) / denominator),
		Denominator: typev3.FractionalPercent_MILLION,
	}}
}

// setForward gives route the action that forwards to backends.
func setForward(route *routev3.Route, r model.Route, backends []model.WeightedBackend, rewrite *model.Rewrite) {
	if len(backends) == 1 && backends[0].Backend.IsZero() {
		route.Action = respond(500)
		return
	}
	f := r.Forward
	action := &routev3.RouteAction{
		Timeout:     duration(wholeTimeout(f)), // zero: none; unset would be 15 s
		RetryPolicy: retry(f),
	}
	setBackends(action, backends, route, r)
	setRewrite(action, rewrite, r)
	for _, m := range f.Mirrors {
		action.RequestMirrorPolicies = append(action.RequestMirrorPolicies, mirror(m))
	}
	route.Action = &routev3.Route_Route{Route: action}
}

// setBackends shares requests out by weight. What a weighted cluster does to
// headers comes before what its route does, and should come after: if any
// does something, all of them do their rule's part too, and the route none.
func setBackends(action *routev3.RouteAction, backends []model.WeightedBackend, route *routev3.Route, r model.Route) {
	if len(backends) == 1 && plain(backends[0]) {
		action.ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: clusterName(backends[0].Backend)}
		return
	}
	if slices.ContainsFunc(backends, func(b model.WeightedBackend) bool { return !b.RequestHeaders.Empty() }) {
		route.RequestHeadersToAdd, route.RequestHeadersToRemove = nil, nil
	} else {
		r.RequestHeaders = model.HeaderMutation{}
	}
	if slices.ContainsFunc(backends, func(b model.WeightedBackend) bool { return !b.ResponseHeaders.Empty() }) {
		route.ResponseHeadersToAdd, route.ResponseHeadersToRemove = nil, nil
	} else {
		r.ResponseHeaders = model.HeaderMutation{}
	}
	weighted := &routev3.WeightedCluster{}
	for _, b := range backends {
		cluster := &routev3.WeightedCluster_ClusterWeight{Name: clusterName(b.Backend), Weight: number(b.Weight)}
		if b.Backend.IsZero() {
			cluster.Name = noBackend
			action.ClusterNotFoundResponseCode = routev3.RouteAction_INTERNAL_SERVER_ERROR
		}
		cluster.RequestHeadersToAdd, cluster.RequestHeadersToRemove = mutation(r.RequestHeaders, b.RequestHeaders)
		cluster.ResponseHeadersToAdd, cluster.ResponseHeadersToRemove = mutation(r.ResponseHeaders, b.ResponseHeaders)
		if host := hostOf(b.Rewrite, b.RequestHeaders); host != "" {
			cluster.HostRewriteSpecifier = &routev3.WeightedCluster_ClusterWeight_HostRewriteLiteral{HostRewriteLiteral: host}
		}
		weighted.Clusters = append(weighted.Clusters, cluster)
	}
	action.ClusterSpecifier = &routev3.RouteAction_WeightedClusters{WeightedClusters: weighted}
}

// plain tells that b has nothing that only a weighted cluster can hold.
func plain(b model.WeightedBackend) bool {
	return b.RequestHeaders.Empty() && b.ResponseHeaders.Empty() && b.Rewrite == nil
}

func setRewrite(action *routev3.RouteAction, rewrite *model.Rewrite, r model.Route) {
	if host := hostOf(rewrite, r.RequestHeaders); host != "" {
		action.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: host}
	}
	if rewrite == nil || rewrite.Path == nil {
		return
	}
	path := rewritten(rewrite.Path, r.Match.Path)
	action.PathRewrite = literal(path.full)
	action.PrefixRewrite = path.prefix
	action.RegexRewrite = path.regex
}

// hostOf is the Host that a backend sees; empty: the client's.
func hostOf(rewrite *model.Rewrite, headers model.HeaderMutation) string {
	if rewrite != nil && rewrite.Host != "" {
		return rewrite.Host
	}
	return hostSet(headers)
}

func mirror(m model.Mirror) *routev3.RouteAction_RequestMirrorPolicy {
	policy := &routev3.RouteAction_RequestMirrorPolicy{
		Cluster: clusterName(m.Backend),
		// The copy is to be the request, Host and all.
		DisableShadowHostSuffixAppend: true,
	}
	if m.Numerator < m.Denominator {
		policy.RuntimeFraction = fraction(uint64(m.Numerator), uint64(m.Denominator))
	}
	return policy
}

// wholeTimeout bounds the exchange. Where nothing is tried twice, the bound
// of the one try is a bound of the whole.
func wholeTimeout(f *model.Forward) time.Duration {
	if f.Retry == nil && f.BackendTimeout > 0 && (f.Timeout == 0 || f.BackendTimeout < f.Timeout) {
		return f.BackendTimeout
	}
	return f.Timeout
}

func retry(f *model.Forward) *routev3.RetryPolicy {
	if f.Retry == nil {
		return nil
	}
	policy := &routev3.RetryPolicy{
		// As the API has it: "connection errors (disconnect, reset, timeout,
		// TCP failure)".
		RetryOn:    "connect-failure,refused-stream,reset",
		NumRetries: number(uint32(f.Retry.Attempts)),
		// Another try goes to another address if there is one.
		RetryHostPredicate: []*routev3.RetryPolicy_RetryHostPredicate{{
			Name: "envoy.retry_host_predicates.previous_hosts",
			ConfigType: &routev3.RetryPolicy_RetryHostPredicate_TypedConfig{
				TypedConfig: packed(&previoushostsv3.PreviousHostsPredicate{}),
			},
		}},
		HostSelectionRetryMaxAttempts: 3,
	}
	if len(f.Retry.Codes) > 0 {
		policy.RetryOn += ",retriable-status-codes"
		for _, code := range f.Retry.Codes {
			policy.RetriableStatusCodes = append(policy.RetriableStatusCodes, uint32(code))
		}
	}
	if f.BackendTimeout > 0 {
		policy.PerTryTimeout = duration(f.BackendTimeout)
	}
	if f.Retry.Backoff > 0 {
		most := f.Retry.Backoff
		if most < time.Hour { // ten times the longest that can be written would overflow
			most *= 10
		}
		policy.RetryBackOff = &routev3.RetryPolicy_RetryBackOff{
			BaseInterval: duration(f.Retry.Backoff),
			MaxInterval:  duration(most),
		}
	}
	return policy
}
