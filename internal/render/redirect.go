package render

import (
	_ "embed"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/waggle-mesh/waggle/internal/model"
)

//go:embed redirecthost.lua
var redirectHostScript string

const redirectHostScriptName = "redirect_host"

var redirectStatus = map[int]routev3.RedirectAction_RedirectResponseCode{
	301: routev3.RedirectAction_MOVED_PERMANENTLY,
	302: routev3.RedirectAction_FOUND,
	303: routev3.RedirectAction_SEE_OTHER,
	307: routev3.RedirectAction_TEMPORARY_REDIRECT,
	308: routev3.RedirectAction_PERMANENT_REDIRECT,
}

// redirect renders r for requests that m matched in the routes of host.
func redirect(r *model.Redirect, m model.PathMatch, host string) *routev3.Route_Redirect {
	action := &routev3.RedirectAction{
		HostRedirect: r.Host,
		PortRedirect: uint32(r.Port),
		ResponseCode: redirectStatus[r.Status],
	}
	if keepsHost(r) && !isWildcard(host) {
		action.HostRedirect = host
	}
	if r.Scheme != "" {
		action.SchemeRewriteSpecifier = &routev3.RedirectAction_SchemeRedirect{SchemeRedirect: r.Scheme}
	}
	if r.Path != nil {
		switch path := rewritten(r.Path, m); {
		case path.full != "":
			action.PathRewriteSpecifier = &routev3.RedirectAction_PathRedirect{PathRedirect: path.full}
		case path.prefix != "":
			action.PathRewriteSpecifier = &routev3.RedirectAction_PrefixRewrite{PrefixRewrite: path.prefix}
		case path.regex != nil:
			action.PathRewriteSpecifier = &routev3.RedirectAction_RegexRewrite{RegexRewrite: path.regex}
		}
	}
	return &routev3.Route_Redirect{Redirect: action}
}

// keepsHost tells that the Location has the host that the request has, and
// no port. Envoy would leave the request's port in: an exact host is written
// out instead, and for others redirecthost.lua takes the port away.
func keepsHost(r *model.Redirect) bool { return r.Host == "" && r.Port == 0 }

func isWildcard(host string) bool { return strings.HasPrefix(host, "*") }
