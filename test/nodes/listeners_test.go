package nodes

import (
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
)

// The lab's Services: redirected ones, and one that is not.
var (
	vip4, vip6           = netip.MustParseAddr("10.96.0.10"), netip.MustParseAddr("fd96::10")
	plain4, plain6       = netip.MustParseAddr("10.96.0.20"), netip.MustParseAddr("fd96::20")
	balanced4, balanced6 = netip.MustParseAddr("10.97.0.10"), netip.MustParseAddr("fd97::10")
)

const nodePort, nodePortTLS = 30080, 30443

// Logical numbers of the lab's listeners.
const (
	kPass    = iota + 1 // in the client's name to where it wanted to go
	kPublic             // the same, but /public alone
	kService            // in the client's name to b and d, or to the node; IPv4
	kService6
	kDenied     // 403
	kGateway    // from the ingress address to b and d
	kGatewayTLS // the same behind TLS
	kJudged     // as kPublic, behind the destination's own verdict
	kPlain      // from the ingress address to the plain Service's address
	lastNumber
)

// serve tells the node's Envoys the lab's listeners, with b and d as backends.
func (n *labNode) serve(l *lab) {
	n.t.Helper()
	r := n.renderer()
	at80 := func(addresses ...netip.Addr) (out []netip.AddrPort) {
		for _, a := range addresses {
			out = append(out, netip.AddrPortFrom(a, 80))
		}
		return out
	}
	pass := render.OriginalDestination
	all := []model.Resource{r.OriginalDestinationCluster(render.FromClient), r.OriginalDestinationCluster(render.FromClientJudged)}
	cluster := func(name string, source render.Source, backends []netip.AddrPort) string {
		b := model.Backend{Service: model.Name{Namespace: "lab", Name: name}, Port: 80}
		c := r.Cluster(render.Cluster(b), source)
		all = append(all, c, render.LoadAssignment(model.Endpoints{Service: b.Service, Port: b.Port, Addresses: backends}))
		return c.Name
	}
	listener := func(name string, k uint16, source render.Source, routes ...*routev3.Route) {
		all = append(all, n.httpListener(r, name, k, source, model.HTTP, routes)...)
	}
	listener("pass", kPass, render.FromClient, to("/", pass))
	listener("public", kPublic, render.FromClient, to("/public", pass), denied())
	listener("denied", kDenied, render.FromIngress, denied())
	listener("judged", kJudged, render.FromClientJudged, to("/public", pass+"-judged"), denied())
	listener("service", kService, render.FromClient,
		to("/node", cluster("node", render.FromClient, at80(n.Addr4))), to("/", cluster("service", render.FromClient, at80(l.b.Addr4, l.d.Addr4))))
	listener("service6", kService6, render.FromClient,
		to("/node", cluster("node6", render.FromClient, at80(n.Addr6))), to("/", cluster("service6", render.FromClient, at80(l.b.Addr6, l.d.Addr6))))
	gateway := cluster("gateway", render.FromIngress, at80(l.b.Addr4, l.d.Addr4, l.b.Addr6, l.d.Addr6))
	listener("gateway", kGateway, render.FromIngress, to("/", gateway))
	all = append(all, n.httpListener(r, "tls", kGatewayTLS, render.FromIngress, model.HTTPS, []*routev3.Route{to("/", gateway)})...)
	listener("plain", kPlain, render.FromIngress, to("/", cluster("plain", render.FromIngress, at80(plain4))))
	n.ads.Update(all, nil)
	n.ads.Ready()
}

func (n *labNode) renderer() render.Node {
	return render.Node{Ingress4: n.Ingress4, Ingress6: n.Ingress6, FirstPort: 61000, LastPort: 64999}
}

// httpListener renders a listener with its routes, and its certificate.
func (n *labNode) httpListener(r render.Node, name string, k uint16, source render.Source, protocol model.Protocol, routes []*routev3.Route) []model.Resource {
	gateway := model.Name{Namespace: "lab", Name: name}
	chain := model.Chain{Table: model.TableKey(gateway, 80, "")}
	var all []model.Resource
	if protocol == model.HTTPS {
		chain.Certificates = []model.Name{gateway}
		pem, key := SelfSigned("gateway.test")
		all = append(all, render.Certificate(model.Certificate{Secret: gateway, Chain: pem, PrivateKey: key}))
	}
	l := model.Listener{Gateway: gateway, Port: 80, BindPort: 80, Protocol: protocol, Chains: []model.Chain{chain}}
	body, err := proto.Marshal(&routev3.RouteConfiguration{Name: chain.Table, VirtualHosts: []*routev3.VirtualHost{{
		Name: "any", Domains: []string{"*"}, Routes: routes,
	}}})
	n.must("marshal routes", err)
	return append(all,
		r.Listener(render.Listener(l, render.ListenerOptions{Address: n.Addr4}), k, source),
		model.Resource{ResourceKey: model.ResourceKey{Type: model.RouteConfiguration, Name: chain.Table}, Body: body},
	)
}

func matching(prefix string) *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: prefix}}
}

// to routes all below a path to a cluster.
func to(prefix, cluster string) *routev3.Route {
	return &routev3.Route{Match: matching(prefix), Action: &routev3.Route_Route{Route: &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: cluster},
	}}}
}

// denied answers as policy does.
func denied() *routev3.Route {
	return &routev3.Route{Match: matching("/"), Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{
		Status: 403, Body: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: "Access denied\r\n"}},
	}}}
}
