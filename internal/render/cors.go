package render

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/waggle-mesh/waggle/internal/model"
)

// cors renders c for the routes it belongs to; the filter is off elsewhere. For
// '*' Envoy answers with the method, or the headers, that the browser asks for.
func cors(c *model.CORS) *corsv3.CorsPolicy {
	policy := &corsv3.CorsPolicy{
		AllowMethods:  strings.Join(c.AllowMethods, ","),
		AllowHeaders:  strings.Join(c.AllowHeaders, ","),
		ExposeHeaders: strings.Join(c.ExposeHeaders, ","),
		// A preflight request is never the backend's business: one of a
		// foreign origin is answered without a permission.
		ForwardNotMatchingPreflights: truth(false),
	}
	for _, origin := range c.AllowOrigins {
		policy.AllowOriginStringMatch = append(policy.AllowOriginStringMatch, originMatch(origin))
	}
	if c.AllowCredentials {
		policy.AllowCredentials = truth(true)
	}
	if c.MaxAge > 0 {
		policy.MaxAge = strconv.Itoa(int(c.MaxAge / time.Second))
	}
	return policy
}

// originMatch compares with an Origin header. A '*' within an origin stands
// for one label or more.
func originMatch(origin string) *matcherv3.StringMatcher {
	pattern := ".*"
	if origin != "*" {
		if !strings.Contains(origin, "*") {
			return exactly(origin)
		}
		pattern = strings.ReplaceAll(regexp.QuoteMeta(origin), `\*`, `[A-Za-z0-9._-]+`)
	}
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: regex(pattern)}}
}
