package envoyconfig

import (
	"bytes"
	"encoding/json"
	"fmt"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/waggle-mesh/waggle/internal/model"
)

// Rule is one way that connections to a listener can take.
type Rule struct {
	Connections string   `json:"connections,omitempty"` // which, as the filter chain's match has it; empty: all
	Hosts       []string `json:"hosts,omitempty"`
	Match       string   `json:"match,omitempty"` // the route's, in JSON; empty: no HTTP
	Action      string   `json:"action"`          // "route", "redirect", "direct_response", "tcp", or the last filter's name
	To          []Target `json:"to,omitempty"`
}

// Target is a cluster of a Rule.
type Target struct {
	Cluster string `json:"cluster"` // as Envoy has it
	Weight  uint32 `json:"weight,omitempty"`
	// Assignment is the name by which the cluster asks for endpoints; empty:
	// it does not.
	Assignment string   `json:"assignment,omitempty"`
	Endpoints  []string `json:"endpoints"` // filled in by who knows them
}

// Explain says what a listener of p's does with connections, in the order in
// which Envoy looks.
func (p Parsed) Explain(listener string) (rules []Rule) {
	l := &listenerv3.Listener{}
	if !p.resource(model.EnvoyListener, listener, l) {
		return nil
	}
	chains := l.FilterChains
	if l.DefaultFilterChain != nil {
		chains = append(chains[:len(chains):len(chains)], l.DefaultFilterChain)
	}
	for _, chain := range chains {
		if len(chain.Filters) == 0 {
			continue
		}
		last := chain.Filters[len(chain.Filters)-1]
		for _, r := range p.filter(last) {
			r.Connections = compact(chain.FilterChainMatch)
			rules = append(rules, r)
		}
	}
	return rules
}

// filter says what the last filter of a chain does.
func (p Parsed) filter(f *listenerv3.Filter) []Rule {
	manager, tcp := &hcmv3.HttpConnectionManager{}, &tcpv3.TcpProxy{}
	switch {
	case f.GetTypedConfig().UnmarshalTo(manager) == nil:
		routes := manager.GetRouteConfig()
		if name := manager.GetRds().GetRouteConfigName(); name != "" {
			routes = &routev3.RouteConfiguration{}
			p.resource(model.RouteConfiguration, name, routes)
		}
		return p.routes(routes)
	case f.GetTypedConfig().UnmarshalTo(tcp) == nil:
		r := Rule{Action: "tcp"}
		if name := tcp.GetCluster(); name != "" {
			r.To = append(r.To, p.target(name, 0))
		}
		for _, c := range tcp.GetWeightedClusters().GetClusters() {
			r.To = append(r.To, p.target(c.Name, c.Weight))
		}
		return []Rule{r}
	}
	return []Rule{{Action: f.Name}}
}

func (p Parsed) routes(table *routev3.RouteConfiguration) (rules []Rule) {
	for _, host := range table.GetVirtualHosts() {
		for _, route := range host.Routes {
			r := Rule{Hosts: host.Domains, Match: compact(route.Match), Action: "route"}
			switch a := route.Action.(type) {
			case *routev3.Route_Redirect:
				r.Action = "redirect " + compact(a.Redirect)
			case *routev3.Route_DirectResponse:
				r.Action = fmt.Sprintf("direct_response %d", a.DirectResponse.Status)
			case *routev3.Route_Route:
				if name := a.Route.GetCluster(); name != "" {
					r.To = append(r.To, p.target(name, 0))
				}
				for _, c := range a.Route.GetWeightedClusters().GetClusters() {
					r.To = append(r.To, p.target(c.Name, c.Weight.GetValue()))
				}
			}
			rules = append(rules, r)
		}
	}
	return rules
}

// target is a cluster, with how it finds endpoints.
func (p Parsed) target(cluster string, weight uint32) Target {
	t := Target{Cluster: cluster, Weight: weight, Endpoints: []string{}}
	c := &clusterv3.Cluster{}
	if p.resource(model.Cluster, cluster, c) {
		t.Assignment = c.GetEdsClusterConfig().GetServiceName()
	}
	return t
}

// resource reads one of p's resources into m.
func (p Parsed) resource(kind model.ResourceType, name string, m proto.Message) bool {
	if kind == model.RouteConfiguration {
		for _, f := range p.Fragments {
			if f.Table == name {
				return proto.Unmarshal(f.Body, m) == nil
			}
		}
	}
	for _, r := range p.Resources {
		if r.Type == kind && r.Name == name {
			return proto.Unmarshal(r.Body, m) == nil
		}
	}
	return false
}

// compact is a message in JSON, without spaces; empty for one that says nothing.
func compact(m proto.Message) string {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil || string(text) == "{}" {
		return ""
	}
	var out bytes.Buffer // the library puts in spaces as it likes
	if err := json.Compact(&out, text); err != nil {
		return ""
	}
	return out.String()
}
