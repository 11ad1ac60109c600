package render

import (
	"net/netip"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	originaldstv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	originalsrcv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_src/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/waggle-mesh/waggle/internal/model"
)

// Source is in whose name Envoy connects to a backend.
type Source int

const (
	// FromIngress is the node's ingress address.
	FromIngress Source = iota
	// FromGateway is the same, for listeners that never ask where the client
	// wanted to go: what comes by a Gateway.
	FromGateway
	// FromClient is the client's own address: what comes from a pod.
	FromClient
	// FromClientJudged is the same for a listener to which the backend's own
	// ingress policy has led: nobody judges it again.
	FromClientJudged
)

// Marks of sockets (SO_MARK), which the data path's programs tell apart; the
// identity that a socket speaks for stands from bit 16.
const (
	markListener       = 0x800
	markUpstream       = 0x400
	markUpstreamJudged = 0x600
	ingressIdentity    = 8
)

// Levels and names of socket options, from linux/in.h and asm-generic/socket.h.
const (
	solIP, ipBindAddressNoPort, ipLocalPortRange = 0, 24, 51
	solSocket, soMark                            = 1, 36
)

// clientIdle closes upstream connections that nobody used for that long: each
// client has connections of its own.
const clientIdle = time.Minute

// Node changes resources into those of an Envoy to which a node's data path
// leads connections. Such an Envoy has no port of the node's: its listeners are
// at the loopback addresses, at ports of which only the data path knows.
type Node struct {
	// Ingress4 and Ingress6 are the node's ingress addresses. Invalid: the
	// node has not that family.
	Ingress4, Ingress6 netip.Addr
	// FirstPort and LastPort are the source ports of connections in a
	// client's name.
	FirstPort, LastPort uint16
}

// Listener gives the listener with logical number k. Its port is k; each Envoy
// is told another, see xds.Welcome.
func (n Node) Listener(r model.Resource, k uint16, source Source) model.Resource {
	var l listenerv3.Listener
	unpack(r, &l)
	l.EnableReusePort = nil
	l.Transparent = truth(true) // it answers from addresses that are not the node's
	l.SocketOptions = []*corev3.SocketOption{marked(markListener)}
	l.AdditionalAddresses = nil
	for i, a := range n.loopbacks() {
		at := socketAddress(netip.AddrPortFrom(a, k))
		if i == 0 {
			l.Address = at
			continue
		}
		l.AdditionalAddresses = append(l.AdditionalAddresses, &listenerv3.AdditionalAddress{
			Address: at, SocketOptions: &corev3.SocketOptionsOverride{SocketOptions: l.SocketOptions},
		})
	}
	l.ListenerFilters = append(addressFilters(source), l.ListenerFilters...)
	for _, chain := range l.FilterChains {
		for _, filter := range chain.Filters {
			tellDenials(filter)
		}
	}
	return resource(r.Type, r.Name, &l, r.Owners...)
}

func (n Node) loopbacks() []netip.Addr {
	var all []netip.Addr
	if n.Ingress4.IsValid() {
		all = append(all, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	}
	if n.Ingress6.IsValid() {
		all = append(all, netip.IPv6Loopback())
	}
	return all
}

// fromClient tells whether Envoy speaks in the client's name.
func (s Source) fromClient() bool { return s == FromClient || s == FromClientJudged }

// addressFilters find out where the client wanted to go, and let Envoy speak in
// the client's name.
func addressFilters(source Source) []*listenerv3.ListenerFilter {
	if source == FromGateway {
		return nil
	}
	filters := []*listenerv3.ListenerFilter{listenerFilter("envoy.filters.listener.original_dst", &originaldstv3.OriginalDst{})}
	if !source.fromClient() {
		return filters
	}
	mark := uint32(markUpstream)
	if source == FromClientJudged {
		mark = markUpstreamJudged
	}
	return append(filters, listenerFilter("envoy.filters.listener.original_src", &originalsrcv3.OriginalSrc{Mark: mark}))
}

// tellDenials makes a connection manager answer 403 where policy has refused
// the connection to the backend.
func tellDenials(filter *listenerv3.Filter) {
	config := filter.GetTypedConfig()
	var m hcmv3.HttpConnectionManager
	if config == nil || config.UnmarshalTo(&m) != nil {
		return // it speaks no HTTP
	}
	m.LocalReplyConfig = denials()
	filter.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: packed(&m)}
}

// Cluster gives a cluster whose connections are made in the name of source. One
// in the client's name serves only listeners of that source.
func (n Node) Cluster(r model.Resource, source Source) model.Resource {
	var c clusterv3.Cluster
	unpack(r, &c)
	n.bind(&c, source)
	return resource(r.Type, r.Name, &c, r.Owners...)
}

// OriginalDestination is the name of the cluster that leads to where the client
// wanted to go.
const OriginalDestination = "original-destination"

// OriginalDestinationCluster gives that cluster, for a source other than
// FromIngress: the name of the judged one ends with "-judged".
func (n Node) OriginalDestinationCluster(source Source) model.Resource {
	name := OriginalDestination
	if source == FromClientJudged {
		name += "-judged"
	}
	c := &clusterv3.Cluster{
		Name:                          name,
		ClusterDiscoveryType:          &clusterv3.Cluster_Type{Type: clusterv3.Cluster_ORIGINAL_DST},
		LbPolicy:                      clusterv3.Cluster_CLUSTER_PROVIDED,
		ConnectTimeout:                duration(connectTimeout),
		PerConnectionBufferLimitBytes: number(bufferLimit),
	}
	n.bind(c, source)
	return resource(model.Cluster, name, c)
}

func (n Node) bind(c *clusterv3.Cluster, source Source) {
	if source.fromClient() {
		// The address is the listener filter's to give.
		ports := int64(n.LastPort)<<16 | int64(n.FirstPort)
		c.UpstreamBindConfig = &corev3.BindConfig{SocketOptions: []*corev3.SocketOption{
			option("IP_LOCAL_PORT_RANGE", solIP, ipLocalPortRange, ports),
		}}
		closeIdle(c)
		return
	}
	bind := &corev3.BindConfig{SocketOptions: []*corev3.SocketOption{
		// Else a port would be taken for all backends together.
		option("IP_BIND_ADDRESS_NO_PORT", solIP, ipBindAddressNoPort, 1),
		marked(ingressIdentity<<16 | markUpstream),
	}}
	for _, a := range []netip.Addr{n.Ingress4, n.Ingress6} {
		switch address := socketAddress(netip.AddrPortFrom(a, 0)).GetSocketAddress(); {
		case !a.IsValid():
		case bind.SourceAddress == nil:
			bind.SourceAddress = address
		default:
			bind.ExtraSourceAddresses = append(bind.ExtraSourceAddresses, &corev3.ExtraSourceAddress{Address: address})
		}
	}
	c.UpstreamBindConfig = bind
}

// closeIdle bounds how long a cluster keeps connections without a request.
func closeIdle(c *clusterv3.Cluster) {
	options := &upstreamhttpv3.HttpProtocolOptions{
		UpstreamProtocolOptions: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{HttpProtocolOptions: &corev3.Http1ProtocolOptions{}},
			},
		},
	}
	if given := c.TypedExtensionProtocolOptions[upstreamHTTPOptions]; given != nil {
		options = &upstreamhttpv3.HttpProtocolOptions{}
		if err := given.UnmarshalTo(options); err != nil {
			panic(err) // this package has written it
		}
	}
	options.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{IdleTimeout: duration(clientIdle)}
	c.TypedExtensionProtocolOptions = map[string]*anypb.Any{upstreamHTTPOptions: packed(options)}
}

func marked(mark int64) *corev3.SocketOption { return option("SO_MARK", solSocket, soMark, mark) }

// option is set before the socket gets its address.
func option(description string, level, name, value int64) *corev3.SocketOption {
	return &corev3.SocketOption{
		Description: description, Level: level, Name: name,
		Value: &corev3.SocketOption_IntValue{IntValue: value}, State: corev3.SocketOption_STATE_PREBIND,
	}
}

func unpack(r model.Resource, m proto.Message) {
	if err := proto.Unmarshal(r.Body, m); err != nil {
		panic(err) // this package has written it
	}
}
