package gateway

import (
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/model"
)

// redirect is a RequestRedirect filter. Where it leads depends on the
// listener if it names no port.
type redirect struct {
	model.Redirect
	port uint16 // zero: none is named
}

// at is the redirect as a listener gives it. By the API, the port is the one
// that is named, else the well-known one of the scheme that is named, else
// the listener's; and it is left out where the scheme implies it. The ports
// that are not named lead to where they answer.
func (r redirect) at(parent Parent, l ParentListener) model.Redirect {
	out := r.Redirect
	scheme := out.Scheme
	if scheme == "" {
		scheme = strings.ToLower(string(l.Protocol))
	}
	known, protocol := uint16(80), model.HTTP
	if scheme == "https" {
		known, protocol = 443, model.HTTPS
	}
	switch {
	case r.port != 0:
		out.Port = r.port
	case out.Scheme != "":
		out.Port = parent.reachable(known, protocol)
	default:
		out.Port = l.BindPort
	}
	if out.Port == known {
		out.Port = 0
	}
	return out
}

// redirect translates a RequestRedirect filter.
func (r *ruleReader) redirect(spec *gatewayv1.HTTPRequestRedirectFilter, path field) *redirect {
	out := &redirect{Redirect: model.Redirect{
		Scheme: deref(spec.Scheme),
		Host:   r.preciseHostname(spec.Hostname, path.dot("hostname")),
		Path:   r.pathModifier(spec.Path, path.dot("path")),
		Status: derefOr(spec.StatusCode, 302),
	}}
	if s := out.Scheme; spec.Scheme != nil && s != "http" && s != "https" {
		r.refuseUnknown(path.dot("scheme"), s, "http or https")
	}
	if !slices.Contains([]int{301, 302, 303, 307, 308}, out.Status) {
		r.unknown = true
		r.refuse(path.dot("statusCode"), "%d is not supported; use 301, 302, 303, 307 or 308", out.Status)
	}
	if p := spec.Port; p != nil {
		if *p < 1 || *p > 65535 {
			r.refuse(path.dot("port"), "%d is no port; use 1 to 65535", *p)
		} else {
			out.port = uint16(*p)
		}
	}
	return out
}

// rewrite translates a URLRewrite filter.
func (r *ruleReader) rewrite(spec *gatewayv1.HTTPURLRewriteFilter, path field) *model.Rewrite {
	out := &model.Rewrite{
		Host: r.preciseHostname(spec.Hostname, path.dot("hostname")),
		Path: r.pathModifier(spec.Path, path.dot("path")),
	}
	if out.Host == "" && out.Path == nil {
		return nil
	}
	return out
}

func (r *ruleReader) preciseHostname(h *gatewayv1.PreciseHostname, path field) string {
	out := strings.ToLower(string(deref(h)))
	if out != "" && !validPreciseHostname(out) {
		r.refuse(path, "%s is not a host name; use a DNS name without wildcard and port", quoted(string(*h)))
	}
	return out
}

// pathModifier translates the path of a redirect or a rewrite.
func (r *ruleReader) pathModifier(spec *gatewayv1.HTTPPathModifier, path field) *model.PathRewrite {
	if spec == nil {
		return nil
	}
	var out *model.PathRewrite
	switch spec.Type {
	case gatewayv1.FullPathHTTPPathModifier:
		path = path.dot("replaceFullPath")
		if !r.present(spec.ReplaceFullPath != nil, path) {
			return nil
		}
		out = &model.PathRewrite{Kind: model.ReplaceFullPath, Value: *spec.ReplaceFullPath}
	case gatewayv1.PrefixMatchHTTPPathModifier:
		path = path.dot("replacePrefixMatch")
		if !r.present(spec.ReplacePrefixMatch != nil, path) {
			return nil
		}
		if !r.prefixes {
			r.refuse(path, "only a prefix can be replaced; use just PathPrefix in spec.rules[].matches, or ReplaceFullPath")
		}
		out = &model.PathRewrite{Kind: model.ReplacePrefixMatch, Value: trimSlash(*spec.ReplacePrefixMatch)}
	default:
		r.refuseUnknown(path.dot("type"), string(spec.Type), "ReplaceFullPath or ReplacePrefixMatch")
		return nil
	}
	switch {
	case out.Value == "":
		out.Value = "/"
	case len(out.Value) > 1024:
		r.refuse(path, "the path is %d bytes long; use at most 1024", len(out.Value))
	case !strings.HasPrefix(out.Value, "/"):
		r.refuse(path, "%s must begin with \"/\"", quoted(out.Value))
	case !validPathCharacters(out.Value):
		r.refuse(path, "%s holds characters that no path does; write them as %%XX", quoted(out.Value))
	}
	return out
}

// prefixesOnly tells whether all matches are by PathPrefix.
func prefixesOnly(matches []gatewayv1.HTTPRouteMatch) bool {
	for _, m := range matches {
		if m.Path != nil && derefOr(m.Path.Type, gatewayv1.PathMatchPathPrefix) != gatewayv1.PathMatchPathPrefix {
			return false
		}
	}
	return true
}
