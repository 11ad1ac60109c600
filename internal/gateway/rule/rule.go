// Package rule translates the rules of an HTTPRoute: what they match, what
// they do with a request, and what is wrong with them. It knows nothing of
// where the route is attached, but for the port that a redirect leads to.
//
// A rule that is invalid in some part is left out as a whole, as the Gateway
// API wants it. Its matches stay and answer 500, so that no request slips
// through to a rule that is less specific and means something else.
package rule

import (
	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/gateway/field"
	"github.com/waggle-mesh/waggle/internal/model"
)

// World is what rules may refer to.
type World interface {
	field.Grants
	// Service is a Service as it stands.
	Service(name model.Name) (*corev1.Service, bool)
}

// Rule is what became of a rule of a route.
type Rule struct {
	// Invalid problems make the rule invalid. Unresolved ones do not: they
	// turn a share of its requests into errors.
	Invalid, Unresolved []field.Problem
	// Unknown tells of a value that the API does not know, which refuses the
	// whole route.
	Unknown bool
	// Closed rules are invalid for a filter that may guard the backend: they
	// answer 500 even if the route as a whole is not accepted.
	Closed bool

	// routes has an entry per match that can be read.
	routes []model.Route
	// redirect is set if the routes answer with one.
	redirect *redirect
}

// Listener is where the requests of a rule come in.
type Listener struct {
	Protocol model.Protocol
	BindPort uint16 // where it answers
	// HTTP and HTTPS are where the Gateway answers on ports 80 and 443; those
	// numbers if it does not.
	HTTP, HTTPS uint16
}

// Read translates the rule at an index among those of a route.
func Read(w World, route model.Ref, rules []gatewayv1.HTTPRouteRule, index int) Rule {
	spec := &rules[index]
	r := reader{w: w, route: route, path: field.Path("spec").At("rules", index)}
	r.checkName(rules[:index], field.Value(spec.Name))
	matches := r.matches(spec.Matches)
	answer, redirect := r.answer(spec)
	if len(r.Invalid) > 0 {
		answer, redirect = model.Route{Respond: &model.Respond{Status: 500}}, nil
	}
	out := r.Rule
	out.redirect = redirect
	out.routes = make([]model.Route, 0, len(matches))
	for _, m := range matches {
		route := answer
		route.Match = m.Match
		route.Origin = model.Origin{Object: r.route, Rule: index, Name: string(field.Value(spec.Name)), Match: m.index}
		out.routes = append(out.routes, route)
	}
	return out
}

// At gives the rule's routes as they answer at a listener, one per match.
func (r Rule) At(l Listener) []model.Route {
	if r.redirect == nil {
		return r.routes
	}
	answer := r.redirect.at(l)
	out := make([]model.Route, len(r.routes))
	for i, route := range r.routes {
		route.Redirect = &answer
		out[i] = route
	}
	return out
}

// Backends are those that the rule sends requests or copies of them to. They
// may repeat.
func (r Rule) Backends() []model.Backend {
	if len(r.routes) == 0 || r.routes[0].Forward == nil {
		return nil
	}
	var out []model.Backend
	for _, b := range r.routes[0].Forward.Backends {
		if !b.Backend.IsZero() {
			out = append(out, b.Backend)
		}
	}
	for _, m := range r.routes[0].Forward.Mirrors {
		out = append(out, m.Backend)
	}
	return out
}
