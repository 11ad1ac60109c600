package envoyconfig

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Annotations of Services by which each request chooses a backend, and not
// each connection, see
// https://docs.cilium.io/en/stable/network/servicemesh/envoy-load-balancing/.
const (
	AnnotationBalance   = "service.cilium.io/lb-l7"           // "enabled"; others: not
	AnnotationAlgorithm = "service.cilium.io/lb-l7-algorithm" // a key of algorithms
)

// algorithms are how backends can be chosen.
var algorithms = map[string]clusterv3.Cluster_LbPolicy{
	"round_robin": clusterv3.Cluster_ROUND_ROBIN, "least_request": clusterv3.Cluster_LEAST_REQUEST, "random": clusterv3.Cluster_RANDOM,
}

// Balance says which Services' requests Envoy distributes without being told
// by an object. Its zero value: those of none.
type Balance struct {
	Enabled   bool     // Services with AnnotationBalance
	Algorithm string   // of Services that name none; empty: round_robin
	Ports     []uint16 // besides, these ports of all Services
}

// Check says what is wrong with b.
func (b Balance) Check() error {
	if _, ok := algorithms[b.Algorithm]; !ok && b.Algorithm != "" {
		return fmt.Errorf("balance requests by %q: round_robin, least_request and random are possible", b.Algorithm)
	}
	return nil
}

// kindService is the kind of objects that are made of a Service.
const kindService = "Service"

// Object makes what a CiliumEnvoyConfig would say of the Service's ports whose
// requests are to be distributed: each has a listener and a cluster of its
// own. False: there is no such port.
func (b Balance) Object(s *corev1.Service) (Object, bool) {
	ports := b.ports(s)
	if len(ports) == 0 {
		return Object{}, false
	}
	policy, ok := algorithms[s.Annotations[AnnotationAlgorithm]]
	if !ok {
		policy = algorithms[b.Algorithm]
	}
	spec := &ciliumv2.CiliumEnvoyConfigSpec{}
	for _, port := range ports {
		name := strconv.Itoa(int(port))
		spec.Services = append(spec.Services, ciliumv2.ServiceListener{Name: s.Name, Namespace: s.Namespace, Ports: []uint16{port}, Listener: name})
		spec.Resources = append(spec.Resources, balancedResource(balancedListener(name)), balancedResource(balancedCluster(s, name, policy)))
	}
	return Object{
		// No CiliumEnvoyConfig can have such a name, and all come before it.
		Ref:  model.Ref{Kind: kindService, Name: model.Name{Namespace: s.Namespace, Name: s.Name + ":lb-l7"}},
		Meta: &metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(time.Unix(1<<40, 0))},
		Spec: spec,
	}, true
}

// ports are those of s that are distributed, mostLed at most.
func (b Balance) ports(s *corev1.Service) (out []uint16) {
	said, saidSo := s.Annotations[AnnotationBalance]
	if !b.Enabled || s.Spec.Type == corev1.ServiceTypeExternalName || IsHeadless(s) || s.Spec.ClusterIP == "" || saidSo && said != "enabled" {
		return nil
	}
	for _, p := range s.Spec.Ports {
		if port := uint16(p.Port); isTCP(p) && (saidSo || slices.Contains(b.Ports, port)) {
			out = append(out, port)
		}
	}
	return out[:min(len(out), mostLed)]
}

// balancedListener hands HTTP requests to the cluster of its name.
func balancedListener(name string) *listenerv3.Listener {
	routes := &routev3.RouteConfiguration{VirtualHosts: []*routev3.VirtualHost{{
		Name: "all", Domains: []string{"*"},
		Routes: []*routev3.Route{{
			Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
			Action: &routev3.Route_Route{Route: &routev3.RouteAction{
				ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: name},
				Timeout:          durationpb.New(0), // is up to clients, as without Envoy
			}},
		}},
	}}}
	manager := &hcmv3.HttpConnectionManager{
		StatPrefix:     name,
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: routes},
		UpgradeConfigs: []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}},
		HttpFilters: []*hcmv3.HttpFilter{{
			Name: "envoy.filters.http.router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: packed(&routerv3.Router{})},
		}},
	}
	return &listenerv3.Listener{Name: name, FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
		Name: "envoy.filters.network.http_connection_manager", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: packed(manager)},
	}}}}}
}

// balancedCluster has the endpoints of a port. As in Cilium a backend that
// cannot be connected to twice is left out for a while.
func balancedCluster(s *corev1.Service, port string, policy clusterv3.Cluster_LbPolicy) *clusterv3.Cluster {
	options := &httpv3.HttpProtocolOptions{UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_UseDownstreamProtocolConfig{
		UseDownstreamProtocolConfig: &httpv3.HttpProtocolOptions_UseDownstreamHttpConfig{},
	}}
	return &clusterv3.Cluster{
		Name:                 port,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig:     &clusterv3.Cluster_EdsClusterConfig{ServiceName: s.Namespace + "/" + s.Name + ":" + port},
		ConnectTimeout:       durationpb.New(5 * time.Second),
		LbPolicy:             policy,
		OutlierDetection: &clusterv3.OutlierDetection{
			SplitExternalLocalOriginErrors: true, ConsecutiveLocalOriginFailure: wrapperspb.UInt32(2),
		},
		TypedExtensionProtocolOptions: map[string]*anypb.Any{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": packed(options),
		},
	}
}

func packed(m proto.Message) *anypb.Any {
	a := &anypb.Any{}
	if err := anypb.MarshalFrom(a, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		panic(err) // ours is always well formed
	}
	return a
}

func balancedResource(m proto.Message) ciliumv2.EnvoyResource {
	text, err := protojson.Marshal(packed(m))
	if err != nil {
		panic(err)
	}
	return ciliumv2.EnvoyResource{JSON: text}
}
