package gateway

import (
	"slices"
	"strconv"
	"strings"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/model"
)

// cors translates a CORS filter.
func (r *ruleReader) cors(spec *gatewayv1.HTTPCORSFilter, path field) *model.CORS {
	out := &model.CORS{AllowCredentials: deref(spec.AllowCredentials), MaxAge: 5 * time.Second}
	for i, o := range spec.AllowOrigins {
		origin, ok := normalOrigin(string(o))
		if !ok {
			r.refuse(path.at("allowOrigins", i), "%s is no origin; use \"*\", or http or https with \"://\", a host that may begin with \"*.\", and perhaps a port",
				quoted(string(o)))
		}
		out.AllowOrigins = appendNew(out.AllowOrigins, origin)
	}
	for i, m := range spec.AllowMethods {
		if m != "*" && !knownMethod(string(m)) {
			r.refuseUnknown(path.at("allowMethods", i), string(m), "\"*\", or some of "+strings.Join(methods, ", "))
		}
		out.AllowMethods = appendNew(out.AllowMethods, string(m))
	}
	out.AllowHeaders = r.corsHeaders(spec.AllowHeaders, path, "allowHeaders")
	out.ExposeHeaders = r.corsHeaders(spec.ExposeHeaders, path, "exposeHeaders")
	if out.AllowCredentials { // then a browser takes "*" for a header's name
		out.ExposeHeaders = slices.DeleteFunc(out.ExposeHeaders, func(h string) bool { return h == "*" })
	}
	r.checkAlone(out.AllowOrigins, path.dot("allowOrigins"))
	r.checkAlone(out.AllowMethods, path.dot("allowMethods"))
	r.checkAlone(out.AllowHeaders, path.dot("allowHeaders"))
	switch {
	case spec.MaxAge < 0:
		r.refuse(path.dot("maxAge"), "%d is no duration; use 1 or more seconds", spec.MaxAge)
	case spec.MaxAge > 0:
		out.MaxAge = time.Duration(spec.MaxAge) * time.Second
	}
	return out
}

func (r *ruleReader) corsHeaders(names []gatewayv1.HTTPHeaderName, path field, list string) []string {
	var out []string
	for i, name := range names {
		if !validToken(string(name)) {
			r.refuse(path.at(list, i), "%s is not the name of a header; use letters, digits and !#$%%&'*+-.^_`|~", quoted(string(name)))
		}
		out = appendNew(out, string(name))
	}
	return out
}

// checkAlone refuses "*" among others.
func (r *ruleReader) checkAlone(list []string, path field) {
	if len(list) > 1 && slices.Contains(list, "*") {
		r.refuse(path, "\"*\" stands for all; remove it or the others")
	}
}

func appendNew(list []string, value string) []string {
	if slices.Contains(list, value) {
		return list
	}
	return append(list, value)
}

// normalOrigin is an origin as browsers write it: in lower case, and without
// the port that the scheme implies.
func normalOrigin(origin string) (normal string, ok bool) {
	if origin == "*" {
		return origin, true
	}
	origin = strings.ToLower(origin)
	scheme, host, ok := strings.Cut(origin, "://")
	if !ok || scheme != "http" && scheme != "https" || len(origin) > 253 {
		return origin, false
	}
	host, port, hasPort := strings.Cut(host, ":")
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return origin, false
		}
		if scheme == "http" && n != 80 || scheme == "https" && n != 443 {
			port = ":" + strconv.FormatUint(n, 10)
		} else {
			port = ""
		}
	}
	if host != "*" && !validPreciseHostname(strings.TrimPrefix(host, "*.")) {
		return origin, false
	}
	return scheme + "://" + host + port, true
}
