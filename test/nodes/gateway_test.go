package nodes

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
)

// gatewayVIP4 and gatewayVIP6 are the cluster addresses of the Gateway's
// Service.
var gatewayVIP4, gatewayVIP6 = netip.MustParseAddr("10.96.2.1"), netip.MustParseAddr("fd96::2:1")

const gatewayNodePort = 31080

// gateway files what the operator makes of a Gateway "gw" with a listener at
// port 80 and hosts that lead to the Service "web".
func (n *agentNode) gateway(hosts ...string) {
	n.t.Helper()
	gw := model.Name{Namespace: "default", Name: "gw"}
	l := model.Listener{Gateway: gw, Port: 80, BindPort: 80, Protocol: model.HTTP, Chains: []model.Chain{{Table: model.TableKey(gw, 80, "")}}}
	n.generated("cilium-gateway-gw", nil, []kubetest.Object{
		{"name": "cilium-gateway-gw", "namespace": "default", "ports": []int{80}, "listener": l.Key()},
	}, nil, render.StoredListener(l, model.Clients{}))
	for i, host := range hosts {
		n.gatewayHost(l.Chains[0].Table, fmt.Sprintf("cilium-gateway-gw.%d", i), host)
	}
	n.apply(fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: cilium-gateway-gw}
spec: {clusterIP: %s, clusterIPs: [%s, "%s"], ipFamilies: [IPv4, IPv6], type: LoadBalancer, ports: [{name: port-80, port: 80, nodePort: %d, protocol: TCP}]}
status: {loadBalancer: {ingress: [{ip: %s}, {ip: "%s"}]}}
`, gatewayVIP4, gatewayVIP4, gatewayVIP6, gatewayNodePort, balanced4, balanced6))
	n.apply(`
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: cilium-gateway-gw, labels: {kubernetes.io/service-name: cilium-gateway-gw}}
addressType: IPv4
ports: [{name: port-80, port: 9999, protocol: TCP}]
endpoints: [{addresses: [192.192.192.192], conditions: {ready: true}}]
`)
}

// gatewayHost files the part of a host whose routes all lead to "web".
func (n *agentNode) gatewayHost(table, object, host string) {
	n.t.Helper()
	web := model.Backend{Service: model.Name{Namespace: "default", Name: "web"}, Port: 80}
	parts := render.HostParts(model.VirtualHost{Table: table, Host: host, Routes: []model.Route{{
		Match:   model.Match{Path: model.PathMatch{Kind: model.PathPrefix, Value: "/"}},
		Forward: &model.Forward{Backends: []model.WeightedBackend{{Backend: web, Weight: 1}}},
		Origin:  model.Origin{Object: model.Ref{Kind: "HTTPRoute", Name: model.Name{Namespace: "default", Name: "r"}}},
	}}})
	for _, p := range parts {
		n.generated(object+p.Suffix, map[string]any{"cec.waggle.io/part-of": "cilium-gateway-gw"}, nil,
			[]kubetest.Object{{"name": "web", "namespace": "default", "number": []string{"80"}}}, p.Stored().Resources...)
	}
}

// generated files a CiliumEnvoyConfig of the operator's.
func (n *agentNode) generated(name string, labels map[string]any, services, backends []kubetest.Object, resources ...[]byte) {
	n.t.Helper()
	all := kubetest.Object{"cec.waggle.io/generated-for": "Gateway"}
	for k, v := range labels {
		all[k] = v
	}
	var texts []json.RawMessage
	for _, r := range resources {
		texts = append(texts, r)
	}
	text, err := json.Marshal(kubetest.Object{
		"apiVersion": "cilium.io/v2", "kind": "CiliumEnvoyConfig", "metadata": kubetest.Object{"name": name, "labels": all},
		"spec": kubetest.Object{"services": services, "backendServices": backends, "resources": texts},
	})
	n.must("write a CiliumEnvoyConfig", err)
	n.apply(string(text))
}

// TestAgentGateway: what the operator makes of a Gateway is served to the
// outside, to pods and to the node, from the node's ingress address; while
// Envoy is not there and when the Gateway has gone, everybody is refused.
func TestAgentGateway(t *testing.T) {
	n, a, _, b := agentLab(t)
	for _, vip := range []netip.Addr{balanced4, balanced6} {
		n.ground.Client.Do(t, func() error { return route(host(vip), "", n.Addr(familyOf(vip))) })
	}
	targets := map[string]struct {
		from *Machine
		to   func(family int) netip.AddrPort
	}{
		"outside to the LoadBalancer":  {n.ground.Client, func(f int) netip.AddrPort { return netip.AddrPortFrom(pick(f, balanced4, balanced6), 80) }},
		"outside to the NodePort":      {n.ground.Client, func(f int) netip.AddrPort { return netip.AddrPortFrom(n.Addr(f), gatewayNodePort) }},
		"a pod to the NodePort":        {&a.Machine, func(f int) netip.AddrPort { return netip.AddrPortFrom(n.Addr(f), gatewayNodePort) }},
		"the node to its NodePort":     {&n.Machine, func(f int) netip.AddrPort { return netip.AddrPortFrom(n.Addr(f), gatewayNodePort) }},
		"a pod to the LoadBalancer":    {&a.Machine, func(f int) netip.AddrPort { return netip.AddrPortFrom(pick(f, balanced4, balanced6), 80) }},
		"the node to the LoadBalancer": {&n.Machine, func(f int) netip.AddrPort { return netip.AddrPortFrom(pick(f, balanced4, balanced6), 80) }},
		"a pod to the ClusterIP":       {&a.Machine, func(f int) netip.AddrPort { return netip.AddrPortFrom(pick(f, gatewayVIP4, gatewayVIP6), 80) }},
		"the node to the ClusterIP":    {&n.Machine, func(f int) netip.AddrPort { return netip.AddrPortFrom(pick(f, gatewayVIP4, gatewayVIP6), 80) }},
	}
	n.gateway("a.example", "*.example")
	refused := func(when string) {
		t.Helper()
		inBothFamilies(t, func(t *testing.T, family int) {
			for what, d := range targets {
				n.eventually(when+", is refused: "+what, func() bool {
					r := d.from.Dial(t, DialRequest{Address: d.to(family).String()})
					return r.Refused && r.Took.Milliseconds() < 200
				})
			}
		})
	}
	refused("before there is an Envoy")
	n.startEnvoy()
	n.eventually("the Gateway answers", func() bool {
		return n.ground.Client.Fetch(t, FetchRequest{URL: "http://" + balanced4.String() + "/", Host: "a.example"}).Status == 200
	})
	inBothFamilies(t, func(t *testing.T, family int) {
		for what, d := range targets {
			for host, status := range map[string]int{"a.example": 200, "b.example": 200, "other": 404} {
				r := d.from.Fetch(t, FetchRequest{URL: "http://" + d.to(family).String() + "/", Host: host})
				wantStatus(t, what+" as "+host, r, status)
				if status != 200 {
					continue
				}
				if p := peerOf(r).Addr(); p == d.from.Addr(family) || !n.PodCIDR4.Contains(p) && !n.PodCIDR6.Contains(p) || p == a.Addr4 || p == b.Addr4 {
					t.Errorf("%s: the backend saw %s, want the node's ingress address", what, p)
				}
				if client := r.Echo.Header.Get("X-Forwarded-For"); client != d.from.Addr(family).String() {
					t.Errorf("%s: the backend is told of the client %s, want %s", what, client, d.from.Addr(family))
				}
			}
		}
	})
	// a table that grows is served by scopes, and nobody notices
	load := n.ground.Client.StartLoad(t, LoadRequest{
		Name: "a host", URL: "http://" + balanced4.String() + "/", Host: "a.example", Connect: true, Clients: 2, Rate: 50,
	})
	for i := range render.ScopedAbove {
		n.gatewayHost(model.TableKey(model.Name{Namespace: "default", Name: "gw"}, 80, ""), fmt.Sprintf("cilium-gateway-gw.more-%d", i), fmt.Sprintf("h%d.example", i))
	}
	last := fmt.Sprintf("h%d.example", render.ScopedAbove-1)
	n.eventually("the last host answers", func() bool {
		return n.ground.Client.Fetch(t, FetchRequest{URL: "http://" + balanced4.String() + "/", Host: last}).Status == 200
	})
	n.eventually("the agent says that Envoy has answered", func() bool {
		text, _ := json.Marshal(n.api.Get("/apis/waggle.io/v1alpha1/envoynodes/" + n.Name)["configs"])
		return string(text) == `[{"generation":1,"name":"cilium-gateway-gw","namespace":"default"}]`
	})
	r := load.Stop(t)
	t.Log(r)
	if len(r.Failed) > 0 {
		t.Errorf("%d requests failed, the first: %+v", len(r.Failed), r.Failed[0])
	}
	n.delete("CiliumEnvoyConfig", "cilium-gateway-gw")
	refused("without its objects")
}

// forbidden has an API server let nobody read a resource.
func forbidden(resource string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, resource) {
			return false
		}
		kubetest.Answer(w, 403, "Forbidden")
		return true
	}
}

// TestAgentMayNotRead: an agent whose role lacks what only Envoy needs serves
// all the same after half a minute, says what it lacks, and makes good when it may.
func TestAgentMayNotRead(t *testing.T) {
	n := newAgentNode(t, New(t))
	n.api.Refuse(forbidden("ciliumenvoyconfigs"))
	n.startAgent()
	var kinds []string
	for _, k := range n.status().Kinds {
		if k.Forbidden {
			kinds = append(kinds, k.Kind)
		}
	}
	if len(kinds) != 1 || kinds[0] != "CiliumEnvoyConfig" {
		t.Errorf("it may not read %v", kinds)
	}
	a, b := n.addPod("a"), n.addPod("b")
	b.Serve(t, ServeRequest{Address: ":80"})
	n.service("web", web4, web6, 80, b)
	n.eventually("the Service answers", func() bool { return a.Get(t, url(web4, "/")).Status == 200 })
	n.startEnvoy()
	n.apply(webConfig)
	n.api.Refuse(nil)
	n.byEnvoy(a)
}
