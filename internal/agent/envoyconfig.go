package agent

import (
	corev1 "k8s.io/api/core/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
)

// EnvoyInputs are the tables that say what Envoys are to do.
type EnvoyInputs struct {
	NodeInputs
	Configs     *flow.Table[model.Object[*ciliumv2.CiliumEnvoyConfig]]
	Clusterwide *flow.Table[model.Object[*ciliumv2.CiliumClusterwideEnvoyConfig]]
	Secrets     *flow.Table[model.Object[*corev1.Secret]] // the copies that listeners present
}

// NewEnvoyInputs makes the tables beside those of the node, empty.
func NewEnvoyInputs(g *flow.Graph, node NodeInputs) EnvoyInputs {
	return EnvoyInputs{
		NodeInputs:  node,
		Configs:     objects[*ciliumv2.CiliumEnvoyConfig](g, "CiliumEnvoyConfig"),
		Clusterwide: objects[*ciliumv2.CiliumClusterwideEnvoyConfig](g, "CiliumClusterwideEnvoyConfig"),
		Secrets:     objects[*corev1.Secret](g, "Secret"),
	}
}

// NewEnvoyConfigs adds what makes resources of the objects to g.
func NewEnvoyConfigs(g *flow.Graph, in EnvoyInputs, self string, node render.Node) ProxyInputs {
	return ProxyInputs{
		Offers:      flow.NewTable(g, "offers", Offer.Equal),
		Fragments:   flow.NewTable(g, "fragments", model.RouteFragment.Equal),
		Hosts:       flow.NewTable(g, "hosts", render.Host.Equal),
		Assignments: flow.NewTable(g, "assignments", flow.Equal[model.Assignment]),
		Redirects:   flow.NewTable(g, "redirects", same[model.ServiceRedirect]),
		Services:    in.Services, EndpointSlices: in.EndpointSlices,
		Numbers: flow.NewTable(g, "listener numbers", flow.Equal[ListenerNumber]),
		Node:    node,
	}
}
