package envoyconfig

import (
	"net/netip"
	"strconv"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/waggle-mesh/waggle/internal/model"
)

// checks are what Envoy would say against a message that passes its rules for
// fields, as far as it is often met: said here it has the field's path, and
// comes before Envoy is asked.
var checks = map[protoreflect.FullName]func(c *check, m proto.Message, at string){
	full(&listenerv3.Listener{}):         on(checkListener),
	full(&hcmv3.HttpConnectionManager{}): on(checkManager),
	full(&routev3.RouteConfiguration{}):  on(checkRoutes),
	full(&routev3.WeightedCluster{}):     on(checkWeights),
	full(&clusterv3.Cluster{}):           on(checkCluster),
	full(&matcherv3.RegexMatcher{}):      on(checkMatcher),
	full(&corev3.CidrRange{}):            on(checkRange),
	full(&tlsv3.TlsCertificate{}):        on(checkCertificate),
}

func full(m proto.Message) protoreflect.FullName { return m.ProtoReflect().Descriptor().FullName() }

func on[M proto.Message](f func(c *check, m M, at string)) func(*check, proto.Message, string) {
	return func(c *check, m proto.Message, at string) { f(c, m.(M), at) }
}

func index(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }

func under(at, field string) string { return strings.TrimPrefix(at+"."+field, ".") }

func checkListener(c *check, l *listenerv3.Listener, at string) {
	if len(l.FilterChains) == 0 && l.DefaultFilterChain == nil {
		c.wrong(at, "has no filter_chains")
	}
	seen, names := map[string]int{}, map[string]int{}
	for i, chain := range l.FilterChains {
		here := under(at, index("filter_chains", i))
		if len(chain.Filters) == 0 {
			c.wrong(here, "has no filters")
		}
		if first, twice := names[chain.Name]; twice && chain.Name != "" {
			c.wrong(here+".name", "is that of filter_chains[%d]", first)
		}
		names[chain.Name] = i
		if l.FilterChainMatcher != nil {
			continue
		}
		match, err := proto.MarshalOptions{Deterministic: true}.Marshal(chain.FilterChainMatch)
		if first, twice := seen[string(match)]; twice && err == nil {
			c.wrong(here+".filter_chain_match", "is the same as that of filter_chains[%d]", first)
		}
		seen[string(match)] = i
	}
}

// checkManager: the router is the last filter, and nowhere else.
func checkManager(c *check, m *hcmv3.HttpConnectionManager, at string) {
	last := len(m.HttpFilters) - 1
	for i, filter := range m.HttpFilters {
		isRouter := filter.GetTypedConfig().MessageIs(&routerv3.Router{})
		switch here := under(at, index("http_filters", i)); {
		case isRouter && i < last:
			c.wrong(here, "%s answers requests and so must be the last filter", filter.Name)
		case !isRouter && i == last && filter.GetTypedConfig() != nil:
			c.wrong(here, "the last filter must be envoy.filters.http.router")
		}
	}
	if last < 0 {
		c.wrong(under(at, "http_filters"), "is empty; the last filter must be envoy.filters.http.router")
	}
}

func checkRoutes(c *check, r *routev3.RouteConfiguration, at string) {
	names, domains := map[string]int{}, map[string]int{}
	for i, host := range r.VirtualHosts {
		here := under(at, index("virtual_hosts", i))
		if first, twice := names[host.Name]; twice {
			c.wrong(here+".name", "%q is that of virtual_hosts[%d]", clip(host.Name), first)
		}
		names[host.Name] = i
		for j, domain := range host.Domains {
			domain = strings.ToLower(domain)
			if first, twice := domains[domain]; twice {
				c.wrong(here+index(".domains", j), "%q is in virtual_hosts[%d] already", clip(domain), first)
			}
			domains[domain] = i
		}
	}
}

func checkWeights(c *check, w *routev3.WeightedCluster, at string) {
	var sum uint64
	for _, cluster := range w.Clusters {
		sum += uint64(cluster.Weight.GetValue())
	}
	if sum == 0 || sum > 1<<32-1 {
		c.wrong(under(at, "clusters"), "weights add up to %d; 1 to %d is possible", sum, uint32(1<<32-1))
	}
}

func checkCluster(c *check, cl *clusterv3.Cluster, at string) {
	if ring := cl.GetRingHashLbConfig(); ring != nil {
		const usual, usualMost = 1024, 8 << 20
		least, most := uint64(usual), uint64(usualMost)
		if ring.MinimumRingSize != nil {
			least = ring.MinimumRingSize.Value
		}
		if ring.MaximumRingSize != nil {
			most = ring.MaximumRingSize.Value
		}
		if least > most {
			c.wrong(under(at, "ring_hash_lb_config.minimum_ring_size"), "%d is more than maximum_ring_size, %d", least, most)
		}
	}
	eds := cl.GetType() == clusterv3.Cluster_EDS && cl.GetClusterType() == nil
	switch {
	case eds && cl.LoadAssignment != nil:
		c.wrong(under(at, "load_assignment"), "a cluster of type EDS asks for its endpoints: write a ClusterLoadAssignment, or another type")
	case !eds && cl.GetEdsClusterConfig().GetEdsConfig() != nil:
		c.wrong(under(at, "eds_cluster_config"), "is for clusters of type EDS")
	}
}

func checkMatcher(c *check, m *matcherv3.RegexMatcher, at string) {
	if err := checkRegex(m.Regex); err != nil {
		c.wrong(under(at, "regex"), "is no RE2 expression: %v", err)
	}
}

func checkRange(c *check, r *corev3.CidrRange, at string) {
	a, err := netip.ParseAddr(r.AddressPrefix)
	if err != nil || a.Zone() != "" {
		c.wrong(under(at, "address_prefix"), "%q is no IP address", clip(r.AddressPrefix))
		return
	}
	if bits := r.PrefixLen.GetValue(); int(bits) > a.BitLen() {
		c.wrong(under(at, "prefix_len"), "%d is more than the %d bits of the address", bits, a.BitLen())
	}
}

func checkCertificate(c *check, t *tlsv3.TlsCertificate, at string) {
	chain, key := inline(t.CertificateChain), inline(t.PrivateKey)
	if chain == nil || key == nil || t.Password != nil {
		return
	}
	if _, err := model.KeyPair(chain, key); err != nil {
		c.wrong(at, "certificate_chain and private_key: %v", err)
	}
}

// inline is what stands in the object itself; nil if it is elsewhere.
func inline(d *corev3.DataSource) []byte {
	switch s := d.GetSpecifier().(type) {
	case *corev3.DataSource_InlineBytes:
		return s.InlineBytes
	case *corev3.DataSource_InlineString:
		return []byte(s.InlineString)
	}
	return nil
}
