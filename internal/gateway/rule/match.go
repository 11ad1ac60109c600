package rule

import (
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/gateway/field"
	"github.com/waggle-mesh/waggle/internal/model"
)

// indexedMatch is a match and its index in the rule.
type indexedMatch struct {
	model.Match
	index int
}

// matches translates those of a rule's matches that can be read.
func (r *reader) matches(specs []gatewayv1.HTTPRouteMatch) []indexedMatch {
	if len(specs) == 0 {
		return []indexedMatch{{Match: model.Match{Path: model.PathMatch{Value: "/"}}}}
	}
	if !r.few(r.path.Dot("matches"), len(specs), 64) {
		return nil
	}
	out := make([]indexedMatch, 0, len(specs))
	for i := range specs {
		before := len(r.Invalid)
		if m := r.match(&specs[i], r.path.At("matches", i)); len(r.Invalid) == before {
			out = append(out, indexedMatch{m, i})
		}
	}
	return out
}

func (r *reader) match(spec *gatewayv1.HTTPRouteMatch, path field.Path) model.Match {
	out := model.Match{Path: r.pathMatch(spec.Path, path.Dot("path"))}
	if method := field.Value(spec.Method); spec.Method != nil {
		if !knownMethod(string(method)) {
			r.refuseUnknown(path.Dot("method"), string(method), "one of "+strings.Join(methods, ", "))
		}
		out.Method = string(method)
	}
	if !r.few(path.Dot("headers"), len(spec.Headers), 16) || !r.few(path.Dot("queryParams"), len(spec.QueryParams), 16) {
		return out
	}
	for i, h := range spec.Headers {
		name := strings.ToLower(string(h.Name))
		if slices.ContainsFunc(out.Headers, func(m model.ValueMatch) bool { return m.Name == name }) {
			continue // the API takes the first of a name
		}
		regex := field.Or(h.Type, gatewayv1.HeaderMatchExact)
		out.Headers = append(out.Headers, r.valueMatch(name, h.Value, string(regex), path.At("headers", i), 4096))
	}
	for i, q := range spec.QueryParams {
		name := string(q.Name)
		if slices.ContainsFunc(out.Query, func(m model.ValueMatch) bool { return m.Name == name }) {
			continue
		}
		regex := field.Or(q.Type, gatewayv1.QueryParamMatchExact)
		out.Query = append(out.Query, r.valueMatch(name, q.Value, string(regex), path.At("queryParams", i), 1024))
	}
	return out
}

// methods are those of RFC 9110 and RFC 5789.
var methods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}

func knownMethod(m string) bool { return slices.Contains(methods, m) }

func (r *reader) pathMatch(spec *gatewayv1.HTTPPathMatch, path field.Path) model.PathMatch {
	if spec == nil {
		return model.PathMatch{Value: "/"}
	}
	value := field.Or(spec.Value, "/")
	switch kind := field.Or(spec.Type, gatewayv1.PathMatchPathPrefix); kind {
	case gatewayv1.PathMatchExact:
		r.checkPath(value, path.Dot("value"))
		return model.PathMatch{Kind: model.PathExact, Value: value}
	case gatewayv1.PathMatchPathPrefix:
		r.checkPath(value, path.Dot("value"))
		return model.PathMatch{Kind: model.PathPrefix, Value: trimSlash(value)}
	case gatewayv1.PathMatchRegularExpression:
		r.checkRegex(value, path.Dot("value"))
		return model.PathMatch{Kind: model.PathRegex, Value: value}
	default:
		r.refuseUnknown(path.Dot("type"), string(kind), "Exact, PathPrefix or RegularExpression")
		return model.PathMatch{}
	}
}

// trimSlash takes the trailing slash from all paths but "/", as the API
// ignores it.
func trimSlash(path string) string {
	if len(path) > 1 {
		return strings.TrimSuffix(path, "/")
	}
	return path
}

// checkPath applies the API's rules for paths that are compared as they are.
func (r *reader) checkPath(value string, path field.Path) {
	lower := strings.ToLower(value)
	switch {
	case len(value) > 1024:
		r.refuse(path, "the path is %d bytes long; use at most 1024", len(value))
	case !strings.HasPrefix(value, "/"):
		r.refuse(path, "%s must begin with \"/\"", field.Quoted(value))
	case strings.Contains(value, "//"), strings.Contains(value+"/", "/./"), strings.Contains(value+"/", "/../"), strings.Contains(lower, "%2f"):
		r.refuse(path, "%s holds \"//\", \"/./\", \"/../\" or \"%%2f\", which no request's path does by the time it is matched", field.Quoted(value))
	case !field.ValidPathCharacters(value):
		r.refuse(path, "%s holds characters that no path does; write them as %%XX", field.Quoted(value))
	}
}

// valueMatch translates the match of a header or a query parameter.
func (r *reader) valueMatch(name, value, kind string, path field.Path, most int) model.ValueMatch {
	if !field.ValidToken(name) {
		r.refuse(path.Dot("name"), "%s is not a name; use letters, digits and !#$%%&'*+-.^_`|~", field.Quoted(name))
	}
	out := model.ValueMatch{Name: name, Value: value}
	switch kind {
	case string(gatewayv1.HeaderMatchExact):
		switch {
		case value == "" || len(value) > most:
			r.refuse(path.Dot("value"), "the value is %d bytes long; use 1 to %d", len(value), most)
		case !field.ValidText(value):
			r.refuse(path.Dot("value"), "%s holds control characters or no UTF-8; remove them", field.Quoted(value))
		}
	case string(gatewayv1.HeaderMatchRegularExpression):
		out.Regex = true
		r.checkRegex(value, path.Dot("value"))
	default:
		r.refuseUnknown(path.Dot("type"), kind, "Exact or RegularExpression")
	}
	return out
}
