package render

import (
	"regexp"
	"strings"

	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/waggle-mesh/waggle/internal/model"
)

// newPath is how a path becomes another. One field is set at most; all leave
// the query alone.
type newPath struct {
	full   string
	prefix string // for what the route's path match took
	regex  *matcherv3.RegexMatchAndSubstitute
}

// rewritten finds the way to carry out r after a match of m. Prefixes go by
// whole segments, and what comes out is never empty and has no "//":
//
//	/foo → /xyz    /foo/bar is /xyz/bar    /foo is /xyz    /foo/ is /xyz/
//	/foo → /xyz/   the same
//	/foo → /       /foo/bar is /bar        /foo is /       /foo/ is /
//	/    → /xyz    /foo/bar is /xyz/foo/bar                / is /xyz/
func rewritten(r *model.PathRewrite, m model.PathMatch) newPath {
	if r.Kind == model.ReplaceFullPath {
		return newPath{full: "/" + strings.TrimPrefix(r.Value, "/")}
	}
	replacement := strings.TrimRight(r.Value, "/")
	if replacement != "" && !strings.HasPrefix(replacement, "/") {
		replacement = "/" + replacement
	}
	switch {
	case m.Kind == model.PathRegex:
		return newPath{} // no prefix to replace
	case m.Value == "/":
		return newPath{prefix: replacement + "/"}
	case replacement == "":
		return newPath{regex: &matcherv3.RegexMatchAndSubstitute{
			Pattern:      regex("^" + regexp.QuoteMeta(m.Value) + "/?"),
			Substitution: "/",
		}}
	default:
		return newPath{prefix: replacement}
	}
}
