package agent

import (
	"testing"

	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
)

// TestAnnouncementOfGateway: a node stands for a Service that Envoy answers for
// once its Envoy does, with backends or without.
func TestAnnouncementOfGateway(t *testing.T) {
	g := newGround(t)
	for _, a := range objectActions(t, `kind: Node
metadata: {name: n1}
---
kind: CiliumL2AnnouncementPolicy
metadata: {name: all}
spec: {loadBalancerIPs: true}
---
kind: Service
metadata: {name: cilium-gateway-web}
spec: {type: LoadBalancer, externalTrafficPolicy: Local, clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1], ipFamilies: [IPv4], ports: [{port: 80}]}
status: {loadBalancer: {ingress: [{ip: 192.168.0.81}]}}
`) {
		a.put(g)
	}
	name := model.Name{Namespace: "default", Name: "cilium-gateway-web"}
	g.node.in.Redirects.Set(model.ServiceRedirect{Service: name, Listener: "web/listener", Alone: true})
	g.commit()
	if all := g.node.Announcements.All(); len(all) > 0 {
		t.Errorf("announced before Envoy has the listener: %v", all)
	}
	g.node.in.Live.Set(flow.KeyRow("web/listener"))
	g.commit()
	if all := g.node.Announcements.All(); len(all) != 1 || all[0].Service != name {
		t.Errorf("Envoy has the listener: %v", all)
	}
}
