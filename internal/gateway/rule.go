package gateway

import (
	"fmt"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/model"
)

// rule is what became of a rule of a route.
type rule struct {
	// routes has an entry per match that can be read. In a rule that is
	// invalid they answer 500, so that no request slips through to a rule
	// that is less specific and means something else.
	routes []model.Route
	// redirect is set if the routes answer with one. Its port depends on the
	// listener.
	redirect *redirect
	// closed rules are invalid for a filter that guards the backend: they
	// answer 500 even if the route as a whole is not accepted.
	closed bool
}

// at gives the rule's routes as they answer at a listener.
func (r rule) at(parent Parent, l ParentListener) []model.Route {
	if r.redirect == nil {
		return r.routes
	}
	answer := r.redirect.at(parent, l)
	out := make([]model.Route, len(r.routes))
	for i, route := range r.routes {
		route.Redirect = &answer
		out[i] = route
	}
	return out
}

// backends are the backends that the rule sends requests or copies to.
func (r rule) backends() []model.Backend {
	var out []model.Backend
	for _, route := range r.routes {
		if route.Forward == nil {
			continue
		}
		for _, b := range route.Forward.Backends {
			if !b.Backend.IsZero() {
				out = append(out, b.Backend)
			}
		}
		for _, m := range route.Forward.Mirrors {
			out = append(out, m.Backend)
		}
	}
	return out
}

// ruleReader translates one rule and notes what is wrong with it.
type ruleReader struct {
	w     World
	route model.Ref
	path  field

	// invalid problems make the rule invalid, unresolved ones do not: they
	// turn a share of its requests into errors.
	invalid, unresolved []Problem
	// unknown: a value that the API does not know, which refuses the route.
	unknown bool
	// closed: see rule.
	closed bool
	// prefixes: all of the rule's matches are by PathPrefix.
	prefixes bool
}

// refuse notes a value that is not supported.
func (r *ruleReader) refuse(at field, format string, args ...any) {
	r.refuseAs(gatewayv1.RouteReasonUnsupportedValue, at, format, args...)
}

// refuseUnknown notes a value of an enumeration that is not known. The API
// then wants the whole route refused.
func (r *ruleReader) refuseUnknown(at field, value string, choices string) {
	r.unknown = true
	r.refuse(at, "%s is not known; use %s", quoted(value), choices)
}

func (r *ruleReader) refuseAs(reason gatewayv1.RouteConditionReason, at field, format string, args ...any) {
	r.invalid = append(r.invalid, Problem{string(reason), string(at) + ": " + fmt.Sprintf(format, args...)})
}

// unresolve notes a reference that leads nowhere.
func (r *ruleReader) unresolve(reason gatewayv1.RouteConditionReason, at field, format string, args ...any) {
	r.unresolved = append(r.unresolved, Problem{string(reason), string(at) + ": " + fmt.Sprintf(format, args...)})
}

// read translates the rule with the given index.
func (r *ruleReader) read(index int, spec *gatewayv1.HTTPRouteRule) rule {
	matches := r.matches(spec.Matches)
	answer, redirect := r.answer(spec)
	if len(r.invalid) > 0 {
		answer, redirect = model.Route{Respond: &model.Respond{Status: 500}}, nil
	}
	out := rule{routes: make([]model.Route, 0, len(matches)), redirect: redirect, closed: r.closed}
	for _, m := range matches {
		route := answer
		route.Match = m.Match
		route.Origin = model.Origin{Object: r.route, Rule: index, Name: string(deref(spec.Name)), Match: m.index}
		out.routes = append(out.routes, route)
	}
	return out
}

// answer translates all of the rule but its matches.
func (r *ruleReader) answer(spec *gatewayv1.HTTPRouteRule) (model.Route, *redirect) {
	if spec.SessionPersistence != nil {
		r.refuse(r.path.dot("sessionPersistence"), "session persistence is not supported; remove the field")
	}
	r.prefixes = prefixesOnly(spec.Matches)
	f := r.filters(spec.Filters, r.path, false)
	out := model.Route{RequestHeaders: f.request, ResponseHeaders: f.response, CORS: f.cors}
	forward := &model.Forward{Rewrite: f.rewrite, Mirrors: f.mirrors}
	r.timeouts(spec.Timeouts, forward)
	r.retry(spec.Retry, forward)
	forward.Backends = r.backendRefs(spec)
	switch {
	case f.redirect != nil:
		r.checkRedirect(spec, f)
		return out, f.redirect
	case answers(forward.Backends):
		out.Forward = forward
	default:
		out.Respond = &model.Respond{Status: 500}
	}
	return out, nil
}

// answers tells whether a request can come to a backend at all.
func answers(backends []model.WeightedBackend) bool {
	for _, b := range backends {
		if !b.Backend.IsZero() {
			return true
		}
	}
	return false
}

// checkRedirect looks for what cannot go with a redirect.
func (r *ruleReader) checkRedirect(spec *gatewayv1.HTTPRouteRule, f filters) {
	const reason = gatewayv1.RouteReasonIncompatibleFilters
	switch {
	case len(spec.BackendRefs) > 0:
		r.refuseAs(reason, r.path, "a RequestRedirect filter leaves backendRefs without requests; remove either")
	case f.rewrite != nil:
		r.refuseAs(reason, r.path.dot("filters"), "RequestRedirect and URLRewrite exclude each other; remove either")
	case len(f.mirrors) > 0:
		r.refuseAs(reason, r.path.dot("filters"), "RequestRedirect leaves RequestMirror nothing to copy; remove either")
	}
}
