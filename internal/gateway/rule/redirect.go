package rule

import (
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/gateway/field"
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
func (r redirect) at(l Listener) model.Redirect {
	out := r.Redirect
	scheme := out.Scheme
	if scheme == "" {
		scheme = strings.ToLower(string(l.Protocol))
	}
	known, reachable := uint16(80), l.HTTP
	if scheme == "https" {
		known, reachable = 443, l.HTTPS
	}
	switch {
	case r.port != 0:
		out.Port = r.port
	case out.Scheme != "":
		out.Port = reachable
	default:
		out.Port = l.BindPort
	}
	if out.Port == known {
		out.Port = 0
	}
	return out
}

// redirect translates a RequestRedirect filter.
func (r *reader) redirect(spec *gatewayv1.HTTPRequestRedirectFilter, path field.Path) *redirect {
	out := &redirect{Redirect: model.Redirect{
		Scheme: field.Value(spec.Scheme),
		Host:   r.preciseHostname(spec.Hostname, path.Dot("hostname")),
		Path:   r.pathModifier(spec.Path, path.Dot("path")),
		Status: field.Or(spec.StatusCode, 302),
	}}
	if s := out.Scheme; spec.Scheme != nil && s != "http" && s != "https" {
		r.refuseUnknown(path.Dot("scheme"), s, "http or https")
	}
	if !slices.Contains([]int{301, 302, 303, 307, 308}, out.Status) {
		r.Unknown = true
		r.refuse(path.Dot("statusCode"), "%d is not supported; use 301, 302, 303, 307 or 308", out.Status)
	}
	if p := spec.Port; p != nil {
		if *p < 1 || *p > 65535 {
			r.refuse(path.Dot("port"), "%d is no port; use 1 to 65535", *p)
		} else {
			out.port = uint16(*p)
		}
	}
	return out
}

// rewrite translates a URLRewrite filter.
func (r *reader) rewrite(spec *gatewayv1.HTTPURLRewriteFilter, path field.Path) *model.Rewrite {
	out := &model.Rewrite{
		Host: r.preciseHostname(spec.Hostname, path.Dot("hostname")),
		Path: r.pathModifier(spec.Path, path.Dot("path")),
	}
	if out.Host == "" && out.Path == nil {
		return nil
	}
	return out
}

func (r *reader) preciseHostname(h *gatewayv1.PreciseHostname, path field.Path) string {
	out := strings.ToLower(string(field.Value(h)))
	if out != "" && !field.ValidPreciseHostname(out) {
		r.refuse(path, "%s is not a host name; use a DNS name without wildcard and port", field.Quoted(string(*h)))
	}
	return out
}

// pathModifier translates the path of a redirect or a rewrite.
func (r *reader) pathModifier(spec *gatewayv1.HTTPPathModifier, path field.Path) *model.PathRewrite {
	if spec == nil {
		return nil
	}
	var out *model.PathRewrite
	switch spec.Type {
	case gatewayv1.FullPathHTTPPathModifier:
		path = path.Dot("replaceFullPath")
		if !r.present(spec.ReplaceFullPath != nil, path) {
			return nil
		}
		out = &model.PathRewrite{Kind: model.ReplaceFullPath, Value: *spec.ReplaceFullPath}
	case gatewayv1.PrefixMatchHTTPPathModifier:
		path = path.Dot("replacePrefixMatch")
		if !r.present(spec.ReplacePrefixMatch != nil, path) {
			return nil
		}
		if !r.prefixes {
			r.refuse(path, "only a prefix can be replaced; use just PathPrefix in spec.rules[].matches, or ReplaceFullPath")
		}
		out = &model.PathRewrite{Kind: model.ReplacePrefixMatch, Value: trimSlash(*spec.ReplacePrefixMatch)}
	default:
		r.refuseUnknown(path.Dot("type"), string(spec.Type), "ReplaceFullPath or ReplacePrefixMatch")
		return nil
	}
	switch {
	case out.Value == "":
		out.Value = "/"
	case len(out.Value) > 1024:
		r.refuse(path, "the path is %d bytes long; use at most 1024", len(out.Value))
	case !strings.HasPrefix(out.Value, "/"):
		r.refuse(path, "%s must begin with \"/\"", field.Quoted(out.Value))
	case !field.ValidPathCharacters(out.Value):
		r.refuse(path, "%s holds characters that no path does; write them as %%XX", field.Quoted(out.Value))
	}
	return out
}

// prefixesOnly tells whether all matches are by PathPrefix.
func prefixesOnly(matches []gatewayv1.HTTPRouteMatch) bool {
	for _, m := range matches {
		if m.Path != nil && field.Or(m.Path.Type, gatewayv1.PathMatchPathPrefix) != gatewayv1.PathMatchPathPrefix {
			return false
		}
	}
	return true
}
