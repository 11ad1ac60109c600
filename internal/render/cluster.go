package render

import (
	"net/netip"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	upstreamhttpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/waggle-mesh/waggle/internal/model"
)

const (
	// connectTimeout covers one lost SYN (sent again after 1 s, then 2 s
	// later) and lets a retry still come in time for a person.
	connectTimeout = 5 * time.Second

	// noBreaker is above what one node can have open. Envoy's default of
	// 1,024 requests and 3 retries answers 503 to loads that the backends
	// could carry; who wants a limit says so in a policy. What protects the
	// node itself is the overload manager in the bootstrap.
	noBreaker = 1 << 20

	// bufferLimit is how much of one connection Envoy holds for a side that
	// reads slowly. Envoy's default is 1 MiB.
	bufferLimit = 32 << 10

	upstreamHTTPOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
)

// Cluster renders the cluster of a Backend. Its endpoints come separately,
// see LoadAssignment: they change more often, and a changed cluster opens
// all its connections anew.
func Cluster(b model.Backend) model.Resource {
	cluster := &clusterv3.Cluster{
		Name:                 clusterName(b),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig: &clusterv3.Cluster_EdsClusterConfig{
			EdsConfig:   fromControlPlane(),
			ServiceName: assignmentName(b.Service, b.Port),
		},
		ConnectTimeout:                duration(connectTimeout),
		PerConnectionBufferLimitBytes: number(bufferLimit),
		CircuitBreakers: &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
			MaxConnections:     number(noBreaker),
			MaxPendingRequests: number(noBreaker),
			MaxRequests:        number(noBreaker),
			MaxRetries:         number(noBreaker),
		}}},
	}
	if b.Protocol == model.BackendH2C {
		cluster.TypedExtensionProtocolOptions = map[string]*anypb.Any{upstreamHTTPOptions: packed(priorKnowledge())}
	}
	return resource(model.Cluster, cluster.Name, cluster, serviceRef(b.Service))
}

// priorKnowledge speaks HTTP/2 without asking. The pings find a backend that
// went away without a word, which HTTP/1.1's many connections find sooner.
func priorKnowledge() *upstreamhttpv3.HttpProtocolOptions {
	return &upstreamhttpv3.HttpProtocolOptions{
		UpstreamProtocolOptions: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &upstreamhttpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
					Http2ProtocolOptions: &corev3.Http2ProtocolOptions{
						ConnectionKeepalive: &corev3.KeepaliveSettings{Interval: duration(30 * time.Second), Timeout: duration(10 * time.Second)},
					},
				},
			},
		},
	}
}

// LoadAssignment renders the addresses behind one port of a Service.
func LoadAssignment(e model.Endpoints) model.Resource {
	endpoints := make([][]netip.AddrPort, len(e.Addresses))
	for i := range e.Addresses {
		endpoints[i] = e.Addresses[i : i+1]
	}
	return Assignment(assignmentName(e.Service, e.Port), e.Service, endpoints)
}

func serviceRef(service model.Name) model.Ref { return model.Ref{Kind: "Service", Name: service} }

func socketAddress(a netip.AddrPort) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       a.Addr().String(),
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(a.Port())},
	}}}
}

func pipeAddress(path string, mode uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: path, Mode: mode}}}
}
