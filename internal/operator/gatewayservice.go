package operator

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/api/cilium.io/v2alpha1"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/gateway"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Labels of everything that is made for a Gateway. Their value is its name,
// shortened where it is too long for a label.
const (
	GatewayLabel = gatewayv1.GatewayNameLabelKey
	// ownerLabel is the older one, which Cilium still sets.
	ownerLabel = "io.cilium.gateway/owning-gateway"
)

// GatewayService is the Service of a Gateway: where it can be reached. It has
// no backends but Envoy.
type GatewayService struct {
	Name  model.Name
	Owner Owner
	Ports []uint16 // sorted; never empty
	// Labels and Annotations are those that it is to have, besides others'.
	Labels, Annotations   map[string]string
	ExternalTrafficPolicy corev1.ServiceExternalTrafficPolicy // empty with ClusterIP
	Type                  corev1.ServiceType
	// Chosen are further fields of the spec that the Gateway's class chooses.
	Chosen v2alpha1.GatewayServiceConfig
	// Held: the Service is there, and stays as it is. Name and Owner are known.
	Held bool
}

// Key is the Service's name.
func (s GatewayService) Key() string { return s.Name.String() }

// services makes a Service for each Gateway that has a listener.
func (c *Cluster) services(g *flow.Graph) {
	made := flow.Derive(g, "made services", c.owners, flow.DeepEqual[GatewayService],
		func(r *flow.Reader, o Owner) []GatewayService {
			object, _ := flow.Get(r, c.in.Gateways, o.Key())
			gw, _ := flow.Get(r, c.Gateways, o.Key())
			out := GatewayService{
				Name: ObjectName(o.Gateway), Owner: o, Labels: gatewayLabels(object.Value), Annotations: gatewayAnnotations(object.Value),
			}
			class, _ := flow.Get(r, c.Classes, gw.Class)
			out.choose(c.settings, class.Service)
			for _, l := range gw.Listeners {
				if l.Served {
					out.Ports = append(out.Ports, l.Port)
				}
			}
			if len(out.Ports) == 0 {
				return nil
			}
			slices.Sort(out.Ports)
			out.Ports = slices.Compact(out.Ports)
			return []GatewayService{out}
		})
	c.Services = flow.Union(g, "gateway services", flow.DeepEqual[GatewayService], made, c.heldServices(g))
}

// choose settles what a Gateway's class says of Services, nil: nothing, and what
// it leaves open.
func (s *GatewayService) choose(all ClusterSettings, chosen *v2alpha1.GatewayServiceConfig) {
	if chosen != nil {
		s.Chosen = *chosen
	}
	s.Type = cmp.Or(s.Chosen.Type, corev1.ServiceTypeLoadBalancer)
	s.ExternalTrafficPolicy = cmp.Or(s.Chosen.ExternalTrafficPolicy, all.ExternalTrafficPolicy)
	if all.HostNetwork != nil {
		s.Type = corev1.ServiceTypeClusterIP // as Cilium's: the world comes to the nodes' own ports
		all.HostNetwork.annotate(s.Annotations)
	}
	if s.Type == corev1.ServiceTypeClusterIP {
		s.ExternalTrafficPolicy = ""
	}
	if s.Type != corev1.ServiceTypeLoadBalancer {
		s.Chosen.LoadBalancerClass, s.Chosen.LoadBalancerSourceRanges, s.Chosen.AllocateLoadBalancerNodePorts = nil, nil, nil
	}
}

// gatewayLabels are those of the objects that are made for a Gateway.
func gatewayLabels(gw *gatewayv1.Gateway) map[string]string {
	out := map[string]string{}
	if in := gw.Spec.Infrastructure; in != nil {
		for name, value := range in.Labels {
			out[string(name)] = string(value)
		}
	}
	out[GatewayLabel], out[ownerLabel] = shortened(gw.Name), shortened(gw.Name)
	return out
}

// gatewayAnnotations are those of the objects that are made for a Gateway,
// with the addresses that it asks for.
func gatewayAnnotations(gw *gatewayv1.Gateway) map[string]string {
	out := map[string]string{}
	if in := gw.Spec.Infrastructure; in != nil {
		for name, value := range in.Annotations {
			out[string(name)] = string(value)
		}
	}
	if wanted := wantedAddresses(gw); len(wanted) > 0 {
		// What is in the spec holds, whatever an older annotation says.
		maps.DeleteFunc(out, func(name, _ string) bool {
			return slices.Contains(gateway.AddressAnnotations, gatewayv1.AnnotationKey(name))
		})
		out[string(gateway.AddressAnnotations[0])] = strings.Join(wanted, ",")
	}
	return out
}

// wantedAddresses are those that a Gateway names.
func wantedAddresses(gw *gatewayv1.Gateway) (out []string) {
	for _, a := range gw.Spec.Addresses {
		if a.Value != "" {
			out = append(out, a.Value)
		}
	}
	return out
}
