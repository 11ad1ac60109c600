package rule

import (
	"slices"
	"strings"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/gateway/field"
	"github.com/waggle-mesh/waggle/internal/model"
)

// cors translates a CORS filter.
func (r *reader) cors(spec *gatewayv1.HTTPCORSFilter, path field.Path) *model.CORS {
	if !r.few(path.Dot("allowOrigins"), len(spec.AllowOrigins), 64) || !r.few(path.Dot("allowMethods"), len(spec.AllowMethods), 64) ||
		!r.few(path.Dot("allowHeaders"), len(spec.AllowHeaders), 64) || !r.few(path.Dot("exposeHeaders"), len(spec.ExposeHeaders), 64) {
		return nil
	}
	out := &model.CORS{AllowCredentials: field.Value(spec.AllowCredentials), MaxAge: 5 * time.Second}
	for i, o := range spec.AllowOrigins {
		origin, ok := field.NormalOrigin(string(o))
		if !ok {
			r.refuse(path.At("allowOrigins", i), "%s is no origin; use \"*\", or http or https with \"://\", a host that may begin with \"*.\", and perhaps a port",
				field.Quoted(string(o)))
		}
		out.AllowOrigins = appendNew(out.AllowOrigins, origin)
	}
	for i, m := range spec.AllowMethods {
		if m != "*" && !knownMethod(string(m)) {
			r.refuseUnknown(path.At("allowMethods", i), string(m), "\"*\", or some of "+strings.Join(methods, ", "))
		}
		out.AllowMethods = appendNew(out.AllowMethods, string(m))
	}
	out.AllowHeaders = r.corsHeaders(spec.AllowHeaders, path, "allowHeaders")
	out.ExposeHeaders = r.corsHeaders(spec.ExposeHeaders, path, "exposeHeaders")
	if out.AllowCredentials { // then a browser takes "*" for a header's name
		out.ExposeHeaders = slices.DeleteFunc(out.ExposeHeaders, func(h string) bool { return h == "*" })
	}
	r.checkAlone(out.AllowOrigins, path.Dot("allowOrigins"))
	r.checkAlone(out.AllowMethods, path.Dot("allowMethods"))
	r.checkAlone(out.AllowHeaders, path.Dot("allowHeaders"))
	switch {
	case spec.MaxAge < 0:
		r.refuse(path.Dot("maxAge"), "%d is no duration; use 1 or more seconds", spec.MaxAge)
	case spec.MaxAge > 0:
		out.MaxAge = time.Duration(spec.MaxAge) * time.Second
	}
	return out
}

func (r *reader) corsHeaders(names []gatewayv1.HTTPHeaderName, path field.Path, list string) []string {
	var out []string
	for i, name := range names {
		if !field.ValidToken(string(name)) {
			r.refuse(path.At(list, i), "%s is not the name of a header; use letters, digits and !#$%%&'*+-.^_`|~", field.Quoted(string(name)))
		}
		out = appendNew(out, string(name))
	}
	return out
}

// checkAlone refuses "*" among others.
func (r *reader) checkAlone(list []string, path field.Path) {
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
