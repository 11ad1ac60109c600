package operator

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/gateway"
	"github.com/waggle-mesh/waggle/internal/gateway/field"
	"github.com/waggle-mesh/waggle/internal/model"
)

// satisfiedCondition is of a Service, by whoever gives addresses.
const satisfiedCondition = "io.cilium/lb-ipam-request-satisfied"

// address finds where each Gateway answers: at the addresses of its Service, or
// of nodes.
func (c *Cluster) address(g *flow.Graph) {
	c.hosts = c.hostNodes(g)
	c.addresses = flow.Derive(g, "addresses", c.in.Gateways, Address.Equal,
		func(r *flow.Reader, gw model.Object[*gatewayv1.Gateway]) []Address {
			out := Address{Gateway: gw.Name, Problem: c.foreign(r, gw.Name)}
			if c.settings.HostNetwork != nil {
				return []Address{c.hostAddress(r, gw, out.Problem)}
			}
			if service, ok := flow.Get(r, c.in.Services, ObjectName(gw.Name).String()); ok && out.Problem.OK() {
				c.serviceAddress(r, &out, service.Value, wantedAddresses(gw.Value))
			}
			return []Address{out}
		})
}

// foreign says that somebody else has the name of a Gateway's objects. Then
// nothing is made for the Gateway: its listeners would stand in for a Service
// that is another's.
func (c *Cluster) foreign(r *flow.Reader, gw model.Name) gateway.Problem {
	name, owner, kind := ObjectName(gw), Owner{Gateway: gw}, ""
	if config, ok := flow.Get(r, c.in.Configs, name.String()); ok && !owner.Owns(config.Value) {
		kind = "CiliumEnvoyConfig"
	}
	if service, ok := flow.Get(r, c.in.Services, name.String()); ok && !owner.Owns(service.Value) {
		kind = "Service"
	}
	if kind == "" {
		return gateway.Problem{}
	}
	return field.New(gatewayv1.GatewayReasonAddressNotAssigned,
		"%s %s exists already and is not the Gateway's; delete it, or give the Gateway another name", kind, name)
}

// serviceAddress is where a Service answers, as its type is.
func (c *Cluster) serviceAddress(r *flow.Reader, out *Address, s *corev1.Service, wanted []string) {
	switch s.Spec.Type {
	case corev1.ServiceTypeNodePort:
		all := slices.DeleteFunc(c.hostAddresses(r), func(a netip.Addr) bool { return !ofFamily(a, s.Spec.IPFamilies) })
		out.Addresses = all[:min(len(all), mostAddresses)]
		out.Problem = refused(wanted, all, "the GatewayClass's Services are of type NodePort, which answer at the addresses of nodes")
	case corev1.ServiceTypeClusterIP:
		for _, text := range s.Spec.ClusterIPs {
			if a, err := netip.ParseAddr(text); err == nil {
				out.Addresses = append(out.Addresses, a)
			}
		}
		out.Problem = refused(wanted, out.Addresses, "the GatewayClass's Services are of type ClusterIP")
	default:
		addressOf(out, s, wanted)
	}
}

// ofFamily tells whether an address is of one of the families; of none given, it
// is.
func ofFamily(a netip.Addr, families []corev1.IPFamily) bool {
	family := corev1.IPv6Protocol
	if a.Is4() {
		family = corev1.IPv4Protocol
	}
	return len(families) == 0 || slices.Contains(families, family)
}

// refused names an address that a Gateway asks for and is not among those that
// it can have.
func refused(wanted []string, all []netip.Addr, why string) gateway.Problem {
	for _, text := range wanted {
		if a, err := netip.ParseAddr(text); err != nil || !slices.Contains(all, a.Unmap()) {
			return field.New(gatewayv1.GatewayReasonAddressNotUsable, "spec.addresses: %s cannot be had: %s", field.Quoted(text), why)
		}
	}
	return gateway.Problem{}
}

// addressOf reads where a Service answers, and what is wrong with that.
func addressOf(out *Address, s *corev1.Service, wanted []string) {
	for _, i := range s.Status.LoadBalancer.Ingress {
		if a, err := netip.ParseAddr(i.IP); err == nil {
			out.Addresses = append(out.Addresses, a.Unmap())
		} else if i.Hostname != "" {
			out.Hostnames = append(out.Hostnames, i.Hostname)
		}
	}
	missing := slices.DeleteFunc(wanted, func(text string) bool {
		a, err := netip.ParseAddr(text)
		return err == nil && slices.Contains(out.Addresses, a.Unmap())
	})
	refusal := ""
	for _, condition := range s.Status.Conditions {
		if condition.Type == satisfiedCondition && condition.Status == metav1.ConditionFalse {
			refusal = condition.Message
		}
	}
	switch {
	case len(missing) > 0 && refusal != "":
		out.Problem = field.New(gatewayv1.GatewayReasonAddressNotUsable, "spec.addresses: %s cannot be had: %s", field.Quoted(missing[0]), refusal)
	case len(missing) > 0:
		out.Problem = field.New(gatewayv1.GatewayReasonAddressNotAssigned, "spec.addresses: %s has not been given to Service %s/%s yet",
			field.Quoted(missing[0]), s.Namespace, s.Name)
	case refusal != "":
		out.Problem = field.New(gatewayv1.GatewayReasonAddressNotAssigned, "Service %s/%s has not the addresses that it should: %s", s.Namespace, s.Name, refusal)
	}
}
