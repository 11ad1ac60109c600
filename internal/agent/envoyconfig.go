package agent

import (
	"encoding/json"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
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
	offers := flow.Derive(g, "offers", in.Configs, Offer.Equal, func(_ *flow.Reader, c model.Object[*ciliumv2.CiliumEnvoyConfig]) (out []Offer) {
		for _, r := range c.Value.Spec.Resources {
			var message anypb.Any
			if protojson.Unmarshal(r.JSON, &message) != nil {
				continue
			}
			t := model.ResourceType(strings.TrimPrefix(message.TypeUrl, "type.googleapis.com/"))
			var name struct {
				Name string `json:"name"`
			}
			json.Unmarshal(r.JSON, &name)
			out = append(out, Offer{Object: model.Ref{Kind: "CiliumEnvoyConfig", Name: c.Name}, ProxyResource: model.ProxyResource{
				KeepSource: true, Resource: model.Resource{ResourceKey: model.ResourceKey{Type: t, Name: name.Name}, Body: message.Value},
			}})
		}
		return out
	})
	redirects := flow.Derive(g, "redirects", in.Configs, same[model.ServiceRedirect], func(_ *flow.Reader, c model.Object[*ciliumv2.CiliumEnvoyConfig]) (out []model.ServiceRedirect) {
		for _, s := range c.Value.Spec.Services {
			out = append(out, model.ServiceRedirect{Service: model.Name{Namespace: s.Namespace, Name: s.Name}, Ports: s.Ports, Listener: s.Listener})
		}
		return out
	})
	assignments := flow.Derive(g, "assignments", in.Configs, flow.Equal[model.Assignment], func(_ *flow.Reader, c model.Object[*ciliumv2.CiliumEnvoyConfig]) (out []model.Assignment) {
		for _, s := range c.Value.Spec.BackendServices {
			for _, port := range s.Ports {
				out = append(out, model.Assignment{Name: s.Namespace + "/" + s.Name + ":" + port, Service: model.Name{Namespace: s.Namespace, Name: s.Name}, Port: port})
			}
		}
		return out
	})
	return ProxyInputs{
		Offers:      offers,
		Fragments:   flow.NewTable(g, "fragments", model.RouteFragment.Equal),
		Hosts:       flow.NewTable(g, "hosts", render.Host.Equal),
		Assignments: assignments,
		Redirects:   redirects,
		Services:    in.Services, EndpointSlices: in.EndpointSlices,
		Numbers: flow.NewTable(g, "listener numbers", flow.Equal[ListenerNumber]),
		Node:    node,
	}
}
