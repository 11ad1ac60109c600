package allow

import (
	"slices"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	filterstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// rules are for messages where values decide.
var rules = map[protoreflect.FullName]func(w *Walk, m protoreflect.Message, at string){
	nameOf(&clusterv3.Cluster{}):                  on(cluster),
	nameOf(&listenerv3.Listener{}):                on(listener),
	nameOf(&corev3.SocketAddress{}):               on(socketAddress),
	nameOf(&accesslogv3.FileAccessLog{}):          on(fileAccessLog),
	nameOf(&filterstatev3.FilterStateValue{}):     on(filterState),
	nameOf(&hcmv3.Rds{}):                          on(rds),
	nameOf(&tlsv3.SdsSecretConfig{}):              on(sds),
	nameOf(&clusterv3.Cluster_EdsClusterConfig{}): on(eds),
}

func nameOf(m proto.Message) protoreflect.FullName { return m.ProtoReflect().Descriptor().FullName() }

// on makes a rule of a function that knows the type.
func on[M proto.Message](f func(w *Walk, m M, at string)) func(*Walk, protoreflect.Message, string) {
	return func(w *Walk, m protoreflect.Message, at string) { f(w, m.Interface().(M), at) }
}

// retries is how many may be under way at once where nothing is said: Cilium's
// figure. Envoy's own, 3, makes of a busy moment errors that a retry would hide.
const retries = 128

// cluster: names of hosts lead anywhere. A cluster by EDS asks for endpoints
// by its own name, as long as that is the one that was written.
func cluster(w *Walk, c *clusterv3.Cluster, at string) {
	if c.CircuitBreakers == nil {
		c.CircuitBreakers = &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{MaxRetries: wrapperspb.UInt32(retries)}}}
	}
	switch c.GetType() {
	case clusterv3.Cluster_STRICT_DNS, clusterv3.Cluster_LOGICAL_DNS:
		w.refuse(step(at, "type"), "address", c.GetType().String())
	case clusterv3.Cluster_EDS:
		if c.EdsClusterConfig == nil {
			c.EdsClusterConfig = &clusterv3.Cluster_EdsClusterConfig{}
		}
		if c.EdsClusterConfig.ServiceName == "" {
			c.EdsClusterConfig.ServiceName = c.Name
		}
	}
	healthHosts(c)
}

// healthHosts names the host that health checks ask for where the object does
// not: Envoy would take the cluster's name, which many servers refuse for its
// slashes.
func healthHosts(c *clusterv3.Cluster) {
	host := c.Name[strings.LastIndexByte(c.Name, '/')+1:]
	if namespace, service, ok := strings.Cut(c.GetEdsClusterConfig().GetServiceName(), "/"); ok {
		service, _, _ = strings.Cut(service, ":")
		host = service + "." + namespace
	}
	for _, h := range c.HealthChecks {
		if http := h.GetHttpHealthCheck(); http != nil && http.Host == "" {
			http.Host = host
		}
		if grpc := h.GetGrpcHealthCheck(); grpc != nil && grpc.Authority == "" {
			grpc.Authority = host
		}
	}
}

func listener(w *Walk, l *listenerv3.Listener, at string) {
	for i, a := range append([]*corev3.Address{l.Address}, additional(l)...) {
		if a.GetSocketAddress().GetProtocol() == corev3.SocketAddress_UDP {
			field := "address"
			if i > 0 {
				field = "additional_addresses"
			}
			w.refuse(step(at, field), "udp", "UDP")
		}
	}
}

func additional(l *listenerv3.Listener) (all []*corev3.Address) {
	for _, a := range l.AdditionalAddresses {
		all = append(all, a.GetAddress())
	}
	return all
}

// socketAddress is, for a Tenant, always one that Envoy connects to.
func socketAddress(w *Walk, a *corev3.SocketAddress, at string) {
	if w.Author != Tenant {
		return
	}
	if problem := w.Connect(a.Address); problem != "" {
		w.say(step(at, "address"), "address", "%s", problem)
	}
}

// outputs are files that are none.
var outputs = []string{"/dev/stdout", "/dev/stderr"}

func fileAccessLog(w *Walk, l *accesslogv3.FileAccessLog, at string) {
	if !slices.Contains(outputs, l.Path) {
		w.refuse(step(at, "path"), "file", "a path other than "+strings.Join(outputs, " and "))
	}
}

// values are keys of the filter state that are read by who names them alone.
var values = []string{"envoy.string", "envoy.bool", "envoy.hashable_string", "envoy.ratelimit.hits_addend"}

// filterState: some keys tell Envoy where to connect.
func filterState(w *Walk, v *filterstatev3.FilterStateValue, at string) {
	for _, k := range []struct{ field, key string }{{"object_key", v.GetObjectKey()}, {"factory_key", v.FactoryKey}} {
		if strings.HasPrefix(k.key, "envoy.") && !slices.Contains(values, k.key) {
			w.refuse(step(at, k.field), "client", k.key)
		}
	}
}

func rds(_ *Walk, r *hcmv3.Rds, _ string)                          { fill(&r.ConfigSource) }
func sds(_ *Walk, s *tlsv3.SdsSecretConfig, _ string)              { fill(&s.SdsConfig) }
func eds(_ *Walk, c *clusterv3.Cluster_EdsClusterConfig, _ string) { fill(&c.EdsConfig) }

// fetchTimeout bounds how long what refers to a resource waits for it.
const fetchTimeout = 5 * time.Second

// fill makes the control plane the source where none is given.
func fill(source **corev3.ConfigSource) {
	if *source == nil {
		*source = &corev3.ConfigSource{}
	}
	if s := *source; s.ConfigSourceSpecifier == nil {
		s.ConfigSourceSpecifier = &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}}
		s.ResourceApiVersion = corev3.ApiVersion_V3
		if s.InitialFetchTimeout == nil {
			s.InitialFetchTimeout = durationpb.New(fetchTimeout)
		}
	}
}
