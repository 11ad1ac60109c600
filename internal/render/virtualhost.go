package render

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/waggle-mesh/waggle/internal/model"
)

// VirtualHost renders the routes of one host.
func VirtualHost(v model.VirtualHost) Host {
	rendered := &routev3.VirtualHost{Name: v.Host, Domains: domains(v.Host)}
	var owners []model.Ref
	if v.Misdirected {
		rendered.Routes = []*routev3.Route{everything(421)}
	} else {
		var routes []*routev3.Route
		for _, r := range v.Routes {
			routes = append(routes, route(r, v.Host)...)
			owners = append(owners, r.Origin.Object)
		}
		rendered.Routes = append(routes, everything(404))
	}
	return Host{Table: v.Table, Name: v.Host, Owners: distinct(owners), entry: element(rendered)}
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

// everything answers all that the routes before it left. A request that no
// route matches would be answered 404 as well, but it would then count as
// one whose host is unknown, see scope.go.
func everything(status uint32) *routev3.Route {
	return &routev3.Route{
		Name:   unrouted,
		Match:  match(model.Match{Path: model.PathMatch{Value: "/"}}),
		Action: respond(status),
	}
}
