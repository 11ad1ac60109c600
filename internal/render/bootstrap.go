package render

import (
	"bytes"
	"encoding/json"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	metricsv3 "github.com/envoyproxy/go-control-plane/envoy/config/metrics/v3"
	internalv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/bootstrap/internal_listener/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
)

// BootstrapOptions are what an Envoy is told before it asks for the rest.
type BootstrapOptions struct {
	// NodeID is by which the control plane knows this Envoy.
	NodeID string
	// AdminSocket is where Envoy listens for commands, XDSSocket where the
	// control plane listens for Envoy. UNIX sockets, at most 107 bytes.
	AdminSocket, XDSSocket string
	// HeapBytes is the heap at which Envoy begins to defend itself. Zero:
	// it relies on the machine.
	HeapBytes uint64
	// Connections is the most that clients may hold open. Zero: 50,000.
	Connections int64
}

// Bootstrap gives the file that Envoy starts with, as JSON.
func Bootstrap(o BootstrapOptions) []byte {
	b := &bootstrapv3.Bootstrap{
		Node:  &corev3.Node{Id: o.NodeID, Cluster: "waggle"},
		Admin: &bootstrapv3.Admin{Address: pipeAddress(o.AdminSocket, 0o600)},
		// Counters of what has not been used are not made: half of the
		// memory per route and cluster.
		DeferredStatOptions: &bootstrapv3.Bootstrap_DeferredStatOptions{EnableDeferredCreationStats: true},
		StatsConfig:         statistics(),
		// A worker thread makes its part of a cluster for the first request
		// to it: a twentieth of the memory per route and cluster, for each.
		ClusterManager:  &bootstrapv3.ClusterManager{EnableDeferredClusterCreation: true},
		OverloadManager: overload(o),
		LayeredRuntime:  runtimeLayers(),
		DynamicResources: &bootstrapv3.Bootstrap_DynamicResources{
			AdsConfig: stream(),
			CdsConfig: atStart(),
			LdsConfig: atStart(),
		},
		StaticResources: &bootstrapv3.Bootstrap_StaticResources{
			Clusters: []*clusterv3.Cluster{controlPlane(o.XDSSocket), localCluster(adminCluster, o.AdminSocket)},
		},
		// Listeners that others of the same Envoy lead to.
		BootstrapExtensions: []*corev3.TypedExtensionConfig{extension("envoy.bootstrap.internal_listener", &internalv3.InternalListener{})},
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(b)
	if err != nil {
		panic(err) // all of it is written above
	}
	var indented bytes.Buffer // protojson varies its spaces on purpose
	if err := json.Indent(&indented, text, "", "  "); err != nil {
		panic(err)
	}
	return append(indented.Bytes(), '\n')
}

// stream is the one stream that all resources come by.
func stream() *corev3.ApiConfigSource {
	return &corev3.ApiConfigSource{
		ApiType:                   corev3.ApiConfigSource_DELTA_GRPC,
		TransportApiVersion:       corev3.ApiVersion_V3,
		SetNodeOnFirstMessageOnly: true,
		GrpcServices: []*corev3.GrpcService{{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
			EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{
				ClusterName: xdsCluster,
				RetryPolicy: &corev3.RetryPolicy{RetryBackOff: &corev3.BackoffStrategy{
					BaseInterval: duration(100 * time.Millisecond),
					MaxInterval:  duration(time.Second),
				}},
			},
		}}},
	}
}

// atStart waits for the control plane for as long as it takes: an Envoy
// without listeners is of no use to anybody.
func atStart() *corev3.ConfigSource {
	source := fromControlPlane()
	source.InitialFetchTimeout = &durationpb.Duration{}
	return source
}

// localCluster has a UNIX socket as its only endpoint.
func localCluster(name, socket string) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		ConnectTimeout:       duration(time.Second),
		LoadAssignment: &endpointv3.ClusterLoadAssignment{
			ClusterName: name,
			Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
				HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: pipeAddress(socket, 0)}},
			}}}},
		},
	}
}

func controlPlane(socket string) *clusterv3.Cluster {
	c := localCluster(xdsCluster, socket)
	c.TypedExtensionProtocolOptions = map[string]*anypb.Any{upstreamHTTPOptions: packed(priorKnowledge())}
	return c
}

// statistics names what is counted: what the status command and dashboards
// show, what tells whether limits that objects set are met, and what came of
// route tables. The rest costs memory for every cluster and table.
func statistics() *metricsv3.StatsConfig {
	var patterns []*matcherv3.StringMatcher
	for _, prefix := range []string{"listener_manager", "cluster_manager", "server.", "control_plane", "overload", "access_logs"} {
		patterns = append(patterns, &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: prefix}})
	}
	for _, suffix := range []string{"upstream_rq_total", "upstream_rq_xx", "upstream_rq_5xx", "upstream_rq_retry", "upstream_rq_pending_overflow", "upstream_cx_active", "downstream_cx_active", "membership_healthy", "membership_total", "ssl.handshake"} {
		patterns = append(patterns, &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Suffix{Suffix: suffix}})
	}
	for _, part := range []string{"rate_limit.", ".ratelimit."} {
		patterns = append(patterns, &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Contains{Contains: part}})
	}
	// A listener's name has at most two '|', its route tables' have more.
	for _, regex := range []string{`http\.([^|]*\|){0,2}[^|]*`, `http\..*\.update_(success|rejected)`} {
		patterns = append(patterns, &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: regex}}})
	}
	return &metricsv3.StatsConfig{StatsMatcher: &metricsv3.StatsMatcher{
		StatsMatcher: &metricsv3.StatsMatcher_InclusionList{InclusionList: &matcherv3.ListStringMatcher{Patterns: patterns}},
	}}
}

// runtimeLayers bounds the size of compiled regular expressions, which
// routes of strangers bring, and leaves a layer for the admin socket.
func runtimeLayers() *bootstrapv3.LayeredRuntime {
	static := &structpb.Struct{Fields: map[string]*structpb.Value{
		"re2.max_program_size.error_level": structpb.NewNumberValue(MaxRegexProgram),
	}}
	return &bootstrapv3.LayeredRuntime{Layers: []*bootstrapv3.RuntimeLayer{
		{Name: "static", LayerSpecifier: &bootstrapv3.RuntimeLayer_StaticLayer{StaticLayer: static}},
		{Name: "admin", LayerSpecifier: &bootstrapv3.RuntimeLayer_AdminLayer_{AdminLayer: &bootstrapv3.RuntimeLayer_AdminLayer{}}},
	}}
}

// MaxRegexProgram is the size of the largest regular expression that Envoy
// accepts, in instructions of RE2. It leaves room for the longest literals of
// the Gateway API (a header's 4,096 bytes), at an instruction a byte.
const MaxRegexProgram = 5000
