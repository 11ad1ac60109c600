package render

import (
	"slices"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/waggle-mesh/waggle/internal/model"
)

// VirtualHost renders the routes of one host.
func VirtualHost(v model.VirtualHost) Host {
	h := Host{Table: v.Table, Name: v.Host, body: marshal(virtualHost(v, authority))}
	if isWildcard(v.Host) && slices.ContainsFunc(v.Routes, matchesHost) {
		h.scopedBody = marshal(virtualHost(v, sentHost))
	}
	for _, r := range v.Routes {
		h.Owners = append(h.Owners, r.Origin.Object)
	}
	h.Owners = distinct(h.Owners)
	return h
}

// matchesHost tells whether r looks at the Host header, besides that the
// host took the request.
func matchesHost(r model.Route) bool {
	return slices.ContainsFunc(r.Match.Headers, func(h model.ValueMatch) bool { return isHost(h.Name) })
}

// authority is where requests have their Host header in Envoy.
const authority = ":authority"

// virtualHost renders v but for its domains.
func virtualHost(v model.VirtualHost, hostHeader string) *routev3.VirtualHost {
	if v.Misdirected {
		return assembled(v.Host, []pathRoute{{anyPath, everything(421)}})
	}
	var routes []pathRoute
	for _, r := range v.Routes {
		for _, one := range route(r, v.Host, hostHeader) {
			routes = append(routes, pathRoute{r.Match.Path, one})
		}
	}
	return assembled(v.Host, routes)
}

// assembled is a host with routes, by themselves or in a tree.
func assembled(host string, routes []pathRoute) *routev3.VirtualHost {
	rendered := &routev3.VirtualHost{Name: host}
	if len(routes) == 0 || routes[len(routes)-1].route.Name != unrouted {
		routes = append(routes, pathRoute{anyPath, everything(404)})
	}
	if rendered.Matcher = tree(routes); rendered.Matcher != nil {
		return rendered
	}
	for _, r := range routes {
		rendered.Routes = append(rendered.Routes, r.route)
	}
	return rendered
}

// domains are the forms of a host that clients may write; Envoy ignores the
// case and, as we ask it to, the port. A trailing dot marks a fully
// qualified name and is otherwise the same name.
func domains(host string) []string {
	if host == "*" {
		return []string{"*"}
	}
	return []string{host, host + "."}
}

// anyDomain is where the scope has found the host already: Envoy does not
// look again.
func anyDomain(string) []string { return []string{"*"} }

// anyPath matches every path.
var anyPath = model.PathMatch{Kind: model.PathPrefix, Value: "/"}

// everything answers all that the routes before it left. A request that no
// route matches would be answered 404 as well, but it would then count as
// one whose host is unknown, see scope.go.
func everything(status uint32) *routev3.Route {
	return &routev3.Route{
		Name:   unrouted,
		Match:  match(model.Match{Path: anyPath}, ""),
		Action: respond(status),
	}
}
