package rule

import (
	"fmt"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/gateway/field"
	"github.com/waggle-mesh/waggle/internal/model"
)

// reader translates one rule and notes in it what is wrong.
type reader struct {
	Rule

	w     World
	route model.Ref
	path  field.Path
	// prefixes: all of the rule's matches are by PathPrefix.
	prefixes bool
}

// refuse notes a value that is not supported.
func (r *reader) refuse(at field.Path, format string, args ...any) {
	r.refuseAs(gatewayv1.RouteReasonUnsupportedValue, at, format, args...)
}

// refuseUnknown notes a value of an enumeration that is not known. The API
// then wants the whole route refused.
func (r *reader) refuseUnknown(at field.Path, value string, choices string) {
	r.Unknown = true
	r.refuse(at, "%s is not known; use %s", field.Quoted(value), choices)
}

func (r *reader) refuseAs(reason gatewayv1.RouteConditionReason, at field.Path, format string, args ...any) {
	r.Invalid = append(r.Invalid, field.New(reason, "%s: %s", at, fmt.Sprintf(format, args...)))
}

// unresolve notes a reference that leads nowhere.
func (r *reader) unresolve(reason gatewayv1.RouteConditionReason, at field.Path, format string, args ...any) {
	r.Unresolved = append(r.Unresolved, field.New(reason, "%s: %s", at, fmt.Sprintf(format, args...)))
}

// few refuses a list that is longer than the API allows.
func (r *reader) few(at field.Path, n, most int) bool {
	if n > most {
		r.refuse(at, "there are %d; use at most %d", n, most)
	}
	return n <= most
}

// checkRegex refuses a regular expression that RE2 would refuse.
func (r *reader) checkRegex(expression string, at field.Path) {
	if problem := field.RegexProblem(expression); problem != "" {
		r.refuse(at, "%s", problem)
	}
}

// checkName refuses a name that a rule before has.
func (r *reader) checkName(before []gatewayv1.HTTPRouteRule, name gatewayv1.SectionName) {
	for i := range before {
		if name != "" && field.Value(before[i].Name) == name {
			r.refuse(r.path.Dot("name"), "%s is also the name of spec.rules[%d]; use distinct names", field.Quoted(string(name)), i)
			return
		}
	}
}

// answer translates all of the rule but its matches.
func (r *reader) answer(spec *gatewayv1.HTTPRouteRule) (model.Route, *redirect) {
	if spec.SessionPersistence != nil {
		r.refuse(r.path.Dot("sessionPersistence"), "session persistence is not supported; remove the field")
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
func (r *reader) checkRedirect(spec *gatewayv1.HTTPRouteRule, f filters) {
	const reason = gatewayv1.RouteReasonIncompatibleFilters
	switch {
	case len(spec.BackendRefs) > 0:
		r.refuseAs(reason, r.path, "a RequestRedirect filter leaves backendRefs without requests; remove either")
	case f.rewrite != nil:
		r.refuseAs(reason, r.path.Dot("filters"), "RequestRedirect and URLRewrite exclude each other; remove either")
	case len(f.mirrors) > 0:
		r.refuseAs(reason, r.path.Dot("filters"), "RequestRedirect leaves RequestMirror nothing to copy; remove either")
	}
}
