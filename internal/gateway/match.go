package gateway

import (
	"slices"
	"strings"
	"unicode/utf8"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/model"
)

// indexedMatch is a match and its index in the rule.
type indexedMatch struct {
	model.Match
	index int
}

// matches translates those of a rule's matches that can be read.
func (r *ruleReader) matches(specs []gatewayv1.HTTPRouteMatch) []indexedMatch {
	if len(specs) == 0 {
		return []indexedMatch{{Match: model.Match{Path: model.PathMatch{Value: "/"}}}}
	}
	out := make([]indexedMatch, 0, len(specs))
	for i := range specs {
		before := len(r.invalid)
		if m := r.match(&specs[i], r.path.at("matches", i)); len(r.invalid) == before {
			out = append(out, indexedMatch{m, i})
		}
	}
	return out
}

func (r *ruleReader) match(spec *gatewayv1.HTTPRouteMatch, path field) model.Match {
	out := model.Match{Path: r.pathMatch(spec.Path, path.dot("path"))}
	if method := deref(spec.Method); spec.Method != nil {
		if !knownMethod(string(method)) {
			r.refuseUnknown(path.dot("method"), string(method), "one of "+strings.Join(methods, ", "))
		}
		out.Method = string(method)
	}
	for i, h := range spec.Headers {
		name := strings.ToLower(string(h.Name))
		if slices.ContainsFunc(out.Headers, func(m model.ValueMatch) bool { return m.Name == name }) {
			continue // the API takes the first of a name
		}
		regex := derefOr(h.Type, gatewayv1.HeaderMatchExact)
		out.Headers = append(out.Headers, r.valueMatch(name, h.Value, string(regex), path.at("headers", i), 4096))
	}
	for i, q := range spec.QueryParams {
		name := string(q.Name)
		if slices.ContainsFunc(out.Query, func(m model.ValueMatch) bool { return m.Name == name }) {
			continue
		}
		regex := derefOr(q.Type, gatewayv1.QueryParamMatchExact)
		out.Query = append(out.Query, r.valueMatch(name, q.Value, string(regex), path.at("queryParams", i), 1024))
	}
	return out
}

// methods are those of RFC 9110 and RFC 5789.
var methods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}

func knownMethod(m string) bool { return slices.Contains(methods, m) }

func (r *ruleReader) pathMatch(spec *gatewayv1.HTTPPathMatch, path field) model.PathMatch {
	if spec == nil {
		return model.PathMatch{Value: "/"}
	}
	value := derefOr(spec.Value, "/")
	switch kind := derefOr(spec.Type, gatewayv1.PathMatchPathPrefix); kind {
	case gatewayv1.PathMatchExact:
		r.checkPath(value, path.dot("value"))
		return model.PathMatch{Kind: model.PathExact, Value: value}
	case gatewayv1.PathMatchPathPrefix:
		r.checkPath(value, path.dot("value"))
		return model.PathMatch{Kind: model.PathPrefix, Value: trimSlash(value)}
	case gatewayv1.PathMatchRegularExpression:
		r.checkRegex(value, path.dot("value"))
		return model.PathMatch{Kind: model.PathRegex, Value: value}
	default:
		r.refuseUnknown(path.dot("type"), string(kind), "Exact, PathPrefix or RegularExpression")
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
func (r *ruleReader) checkPath(value string, path field) {
	lower := strings.ToLower(value)
	switch {
	case len(value) > 1024:
		r.refuse(path, "the path is %d bytes long; use at most 1024", len(value))
	case !strings.HasPrefix(value, "/"):
		r.refuse(path, "%s must begin with \"/\"", quoted(value))
	case strings.Contains(value, "//"), strings.Contains(value+"/", "/./"), strings.Contains(value+"/", "/../"), strings.Contains(lower, "%2f"):
		r.refuse(path, "%s holds \"//\", \"/./\", \"/../\" or \"%%2f\", which no request's path does by the time it is matched", quoted(value))
	case !validPathCharacters(value):
		r.refuse(path, "%s holds characters that no path does; write them as %%XX", quoted(value))
	}
}

// validPathCharacters tells whether RFC 3986 allows all of a path's characters.
func validPathCharacters(path string) bool {
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '%':
			if i+2 >= len(path) || !isHex(path[i+1]) || !isHex(path[i+2]) {
				return false
			}
		case isAlphanumeric(c), strings.IndexByte("-/._~!$&'()*+,;=:@", c) >= 0:
		default:
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// valueMatch translates the match of a header or a query parameter.
func (r *ruleReader) valueMatch(name, value, kind string, path field, most int) model.ValueMatch {
	if !validToken(name) {
		r.refuse(path.dot("name"), "%s is not a name; use letters, digits and !#$%%&'*+-.^_`|~", quoted(name))
	}
	out := model.ValueMatch{Name: name, Value: value}
	switch kind {
	case string(gatewayv1.HeaderMatchExact):
		switch {
		case value == "" || len(value) > most:
			r.refuse(path.dot("value"), "the value is %d bytes long; use 1 to %d", len(value), most)
		case !validText(value):
			r.refuse(path.dot("value"), "%s holds control characters or no UTF-8; remove them", quoted(value))
		}
	case string(gatewayv1.HeaderMatchRegularExpression):
		out.Regex = true
		r.checkRegex(value, path.dot("value"))
	default:
		r.refuseUnknown(path.dot("type"), kind, "Exact or RegularExpression")
	}
	return out
}

// validToken tells whether s is a token of RFC 9110, as the names of headers
// are, of at most 256 bytes.
func validToken(s string) bool {
	if s == "" || len(s) > 256 {
		return false
	}
	for i := range len(s) {
		if !isAlphanumeric(s[i]) && strings.IndexByte("!#$%&'*+-.^_`|~", s[i]) < 0 {
			return false
		}
	}
	return true
}

// validText tells whether s can stand in a header's value: no control
// character but the tab. What is not ASCII has to be UTF-8.
func validText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return utf8.ValidString(s)
}
