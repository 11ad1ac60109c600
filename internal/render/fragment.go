package render

import (
	"cmp"
	"fmt"
	"slices"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	"github.com/waggle-mesh/waggle/internal/model"
)

// Fragment is one part's share of a host, as an agent reads it.
type Fragment struct {
	model.RouteFragment
	Host string // the VirtualHost's
}

// Key is unique per table, host and part.
func (f Fragment) Key() string { return model.Join(f.HostKey(), f.Part) }

// HostKey is the key of the Host that f is a share of.
func (f Fragment) HostKey() string { return model.Join(f.Table, f.Host) }

// Equal tells whether f and other are the same version of one fragment.
func (f Fragment) Equal(other Fragment) bool {
	return f.Host == other.Host && f.RouteFragment.Equal(other.RouteFragment)
}

// FragmentsOf finds the hosts in a generated RouteConfiguration.
func FragmentsOf(f model.RouteFragment) ([]Fragment, error) {
	var c routev3.RouteConfiguration
	if err := proto.Unmarshal(f.Body, &c); err != nil {
		return nil, fmt.Errorf("read the RouteConfiguration of %s: %w", f.Owner, err)
	}
	hosts := c.VirtualHosts
	if len(hosts) == 1 {
		return []Fragment{{f, hosts[0].Name}}, nil
	}
	out := make([]Fragment, len(hosts))
	for i, host := range hosts {
		c.VirtualHosts = hosts[i : i+1]
		out[i] = Fragment{f, host.Name}
		out[i].Body = marshal(&c)
	}
	return out, nil
}

// HostOf puts the fragments of a host together. While a host is being cut in
// another way, two fragments may have the same route: that of the last part by
// name holds.
func HostOf(fragments []Fragment) Host {
	fragments = slices.Clone(fragments)
	slices.SortFunc(fragments, func(a, b Fragment) int { return cmp.Compare(b.Part, a.Part) })
	out := Host{Table: fragments[0].Table, Name: fragments[0].Host}
	var all []ordered
	for _, f := range fragments {
		out.Owners = append(out.Owners, f.Owner)
		all = append(all, f.routes()...)
	}
	slices.SortStableFunc(all, func(a, b ordered) int { return cmp.Compare(a.key, b.key) })
	all = slices.CompactFunc(all, func(a, b ordered) bool { return a.key == b.key })
	out.Owners = distinct(out.Owners)
	rendered := func(sent bool) []byte {
		routes := make([]pathRoute, len(all))
		for i, r := range all {
			routes[i] = pathRoute{pathOf(r.route.Match), r.route}
			if sent {
				routes[i].route = bySentHost(r.route)
			}
		}
		return marshal(assembled(out.Name, routes))
	}
	out.body = rendered(false)
	if isWildcard(out.Name) && slices.ContainsFunc(all, func(r ordered) bool { return byHost(r.route) }) {
		out.scopedBody = rendered(true)
	}
	return out
}

// ordered is a route with the text by which it is put in order.
type ordered struct {
	key   string
	route *routev3.Route
}

// routes are a fragment's, without what orders them.
func (f Fragment) routes() (out []ordered) {
	var c routev3.RouteConfiguration
	if proto.Unmarshal(f.Body, &c) != nil || len(c.VirtualHosts) != 1 {
		return nil // which FragmentsOf has refused
	}
	for _, r := range c.VirtualHosts[0].Routes {
		key := r.GetMetadata().GetFilterMetadata()[orderNamespace].GetFields()["key"].GetStringValue()
		r.Metadata = nil
		out = append(out, ordered{key, r})
	}
	return out
}

// pathOf is the path that match has made of a PathMatch.
func pathOf(m *routev3.RouteMatch) model.PathMatch {
	switch p := m.PathSpecifier.(type) {
	case *routev3.RouteMatch_Path:
		return model.PathMatch{Kind: model.PathExact, Value: p.Path}
	case *routev3.RouteMatch_SafeRegex:
		return model.PathMatch{Kind: model.PathRegex, Value: p.SafeRegex.Regex}
	case *routev3.RouteMatch_PathSeparatedPrefix:
		return model.PathMatch{Kind: model.PathPrefix, Value: p.PathSeparatedPrefix}
	}
	return anyPath
}

// byHost tells whether a route looks at the Host header.
func byHost(r *routev3.Route) bool {
	return slices.ContainsFunc(r.Match.Headers, func(h *routev3.HeaderMatcher) bool { return h.Name == authority })
}

// bySentHost is a route that finds the Host header where a scoped table has
// put it.
func bySentHost(r *routev3.Route) *routev3.Route {
	if !byHost(r) {
		return r
	}
	r = proto.Clone(r).(*routev3.Route)
	for _, h := range r.Match.Headers {
		if h.Name == authority {
			h.Name = sentHost
		}
	}
	return r
}
