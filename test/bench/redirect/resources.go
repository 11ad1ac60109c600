package redirect

import (
	"fmt"
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
	"github.com/waggle-mesh/waggle/test/bench/load"
)

// Each family has a Service of its own, with its listener and cluster.

func nameOf(family int) model.Name {
	return model.Name{Namespace: "bench", Name: fmt.Sprintf("service%d", family)}
}

func backendOf(family int) model.Backend {
	return model.Backend{Service: nameOf(family), Port: load.Port}
}

func listener(family int) model.Listener {
	name := nameOf(family)
	return model.Listener{Gateway: name, Port: load.Port, BindPort: load.Port, Protocol: model.HTTP,
		Chains: []model.Chain{{Table: model.TableKey(name, load.Port, "")}}}
}

// routes are the rule: /private is forbidden, all else is the backend's.
func routes(family int) *routev3.RouteConfiguration {
	below := func(prefix string) *routev3.RouteMatch {
		return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: prefix}}
	}
	denied := &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{
		Status: 403, Body: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: "Access denied\r\n"}},
	}}
	backend := &routev3.Route_Route{Route: &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: render.Cluster(backendOf(family)).Name},
	}}
	return &routev3.RouteConfiguration{Name: listener(family).Chains[0].Table, VirtualHosts: []*routev3.VirtualHost{{
		Name: "any", Domains: []string{"*"}, Routes: []*routev3.Route{
			{Match: below("/private"), Action: denied}, {Match: below("/"), Action: backend},
		},
	}}}
}

// redirected are the resources of an Envoy to which the node leads the
// Services' connections, in the client's name to the backend. numbers are those
// of its listeners.
func redirected(r render.Node, backends map[int]netip.AddrPort) (all []model.Resource, numbers map[string]uint16) {
	numbers = map[string]uint16{}
	for family, backend := range backends {
		l := listener(family)
		k := uint16(family)
		numbers[l.Key()] = k
		body, err := proto.Marshal(routes(family))
		must(err)
		b := backendOf(family)
		all = append(all,
			r.Listener(render.Listener(l, render.ListenerOptions{Address: netip.AddrFrom4([4]byte{127, 0, 0, 1})}), k, render.FromClient),
			model.Resource{ResourceKey: model.ResourceKey{Type: model.RouteConfiguration, Name: l.Chains[0].Table}, Body: body},
			r.Cluster(render.Cluster(b), render.FromClient),
			render.LoadAssignment(model.Endpoints{Service: b.Service, Port: b.Port, Addresses: []netip.AddrPort{backend}}),
		)
	}
	return all, numbers
}
