package rule

import (
	"slices"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/gateway/field"
	"github.com/waggle-mesh/waggle/internal/model"
)

// filters are what a rule's or a backendRef's filters come to. Their order
// in the spec has no meaning: a request's headers are changed before its path
// and host are, and it is copied as the client sent it.
type filters struct {
	request, response model.HeaderMutation
	mirrors           []model.Mirror
	redirect          *redirect
	rewrite           *model.Rewrite
	cors              *model.CORS
}

// filters translates the filters below path, which are a backendRef's or a
// rule's.
func (r *reader) filters(specs []gatewayv1.HTTPRouteFilter, path field.Path, ofBackend bool) filters {
	var out filters
	if !r.few(path.Dot("filters"), len(specs), 16) {
		r.Closed = true // for what may be among them
		return out
	}
	var seen []gatewayv1.HTTPRouteFilterType
	for i := range specs {
		spec, at := &specs[i], path.At("filters", i)
		if slices.Contains(seen, spec.Type) {
			r.refuse(at, "a second %s filter; join it with the first", spec.Type)
			continue
		}
		if spec.Type != gatewayv1.HTTPRouteFilterRequestMirror {
			seen = append(seen, spec.Type)
		}
		if ofBackend && onRulesOnly(spec.Type) {
			r.refuse(at, "a %s filter is not supported on a backendRef; use the rule's filters", spec.Type)
			continue
		}
		r.filter(spec, at, &out)
	}
	return out
}

// onRulesOnly tells whether filters of that type are served on rules, but not
// on backendRefs.
func onRulesOnly(t gatewayv1.HTTPRouteFilterType) bool {
	switch t {
	case gatewayv1.HTTPRouteFilterRequestRedirect, gatewayv1.HTTPRouteFilterRequestMirror, gatewayv1.HTTPRouteFilterCORS:
		return true
	}
	return false
}

// filter translates one filter into out.
func (r *reader) filter(spec *gatewayv1.HTTPRouteFilter, path field.Path, out *filters) {
	switch spec.Type {
	case gatewayv1.HTTPRouteFilterRequestHeaderModifier:
		if f := spec.RequestHeaderModifier; r.present(f != nil, path.Dot("requestHeaderModifier")) {
			out.request = r.headers(f, path.Dot("requestHeaderModifier"), true)
		}
	case gatewayv1.HTTPRouteFilterResponseHeaderModifier:
		if f := spec.ResponseHeaderModifier; r.present(f != nil, path.Dot("responseHeaderModifier")) {
			out.response = r.headers(f, path.Dot("responseHeaderModifier"), false)
		}
	case gatewayv1.HTTPRouteFilterRequestMirror:
		if f := spec.RequestMirror; r.present(f != nil, path.Dot("requestMirror")) {
			if mirror, ok := r.mirror(f, path.Dot("requestMirror")); ok {
				out.mirrors = append(out.mirrors, mirror)
			}
		}
	case gatewayv1.HTTPRouteFilterRequestRedirect:
		if f := spec.RequestRedirect; r.present(f != nil, path.Dot("requestRedirect")) {
			out.redirect = r.redirect(f, path.Dot("requestRedirect"))
		}
	case gatewayv1.HTTPRouteFilterURLRewrite:
		if f := spec.URLRewrite; r.present(f != nil, path.Dot("urlRewrite")) {
			out.rewrite = r.rewrite(f, path.Dot("urlRewrite"))
		}
	case gatewayv1.HTTPRouteFilterCORS:
		if f := spec.CORS; r.present(f != nil, path.Dot("cors")) {
			out.cors = r.cors(f, path.Dot("cors"))
		}
	case gatewayv1.HTTPRouteFilterExternalAuth, gatewayv1.HTTPRouteFilterExtensionRef:
		r.Closed = true
		r.refuse(path, "filters of type %s are not supported; remove it", spec.Type)
	default:
		r.Closed = true
		r.refuseUnknown(path.Dot("type"), string(spec.Type), "a filter type of the Gateway API")
	}
}

// present notes a filter whose type names a field that is not there.
func (r *reader) present(ok bool, path field.Path) bool {
	if !ok {
		r.refuse(path, "the field is missing, which the filter's type names; add it")
	}
	return ok
}

// mirror translates a RequestMirror filter. Without a backend to copy to
// there is none.
func (r *reader) mirror(spec *gatewayv1.HTTPRequestMirrorFilter, path field.Path) (out model.Mirror, ok bool) {
	out = model.Mirror{Numerator: 100, Denominator: 100}
	switch {
	case spec.Percent != nil && spec.Fraction != nil:
		r.refuse(path, "percent and fraction exclude each other; remove either")
	case spec.Percent != nil:
		if *spec.Percent < 0 || *spec.Percent > 100 {
			r.refuse(path.Dot("percent"), "%d is no percentage; use 0 to 100", *spec.Percent)
			return out, false
		}
		out.Numerator = uint32(*spec.Percent)
	case spec.Fraction != nil:
		numerator, denominator := spec.Fraction.Numerator, field.Or(spec.Fraction.Denominator, 100)
		if numerator < 0 || denominator < 1 || numerator > denominator {
			r.refuse(path.Dot("fraction"), "%d/%d is no fraction; use one of 0 to 1", numerator, denominator)
			return out, false
		}
		out.Numerator, out.Denominator = uint32(numerator), uint32(denominator)
	}
	backend, ok := r.backend(spec.BackendRef, path.Dot("backendRef"))
	out.Backend = backend
	return out, ok && out.Numerator > 0
}
