package service

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/waggle-mesh/waggle/internal/model"
)

// Frontends are the addresses and ports at which a Service answers, in the
// order of their keys. A headless Service, one of type ExternalName, and one
// that has a label for another proxy (service.kubernetes.io/service-proxy-name)
// or for DNS alone (service.kubernetes.io/headless) have none, and neither has a
// port whose protocol is not supported.
//
// Who asks from within the cluster gets every backend of an address that is
// meant for the outside, also under externalTrafficPolicy Local, as with
// kube-proxy.
func Frontends(name model.Name, service *corev1.Service) []model.Frontend {
	var out []model.Frontend
	for _, place := range places(service) {
		for _, port := range service.Spec.Ports {
			if f, ok := frontend(name, service, place, port); ok {
				out = append(out, f)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b model.Frontend) int { return strings.Compare(a.Key(), b.Key()) })
	return slices.CompactFunc(out, func(a, b model.Frontend) bool { return a.Key() == b.Key() })
}

// labelServiceProxyName is on Services that another proxy than the cluster's
// default one implements. No package of Kubernetes' API names it.
const labelServiceProxyName = "service.kubernetes.io/service-proxy-name"

// place is an address of a Service.
type place struct {
	address netip.Addr
	kind    model.FrontendKind
}

// places are a Service's addresses, of the families that its ClusterIPs have.
// One that is given twice is what it is first.
func places(service *corev1.Service) []place {
	spec := service.Spec
	if hasLabel(service.Labels, labelServiceProxyName) || hasLabel(service.Labels, corev1.IsHeadlessService) {
		return nil
	}
	if spec.Type == corev1.ServiceTypeExternalName || spec.ClusterIP == corev1.ClusterIPNone || spec.ClusterIP == "" {
		return nil
	}
	var out []place
	add := func(text string, kind model.FrontendKind) {
		if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" && !a.IsUnspecified() {
			out = append(out, place{a.Unmap(), kind})
		}
	}
	clusterIPs := spec.ClusterIPs
	if len(clusterIPs) == 0 {
		clusterIPs = []string{spec.ClusterIP}
	}
	for _, ip := range clusterIPs {
		add(ip, model.ClusterIP)
	}
	given := slices.Clone(out)
	if spec.Type == corev1.ServiceTypeNodePort || spec.Type == corev1.ServiceTypeLoadBalancer {
		for _, a := range out { // of the same families
			out = append(out, place{unspecified(a.address), model.NodePort})
		}
	}
	if spec.Type == corev1.ServiceTypeLoadBalancer {
		for _, in := range service.Status.LoadBalancer.Ingress {
			if in.IPMode == nil || *in.IPMode == corev1.LoadBalancerIPModeVIP {
				add(in.IP, model.LoadBalancer)
			}
		}
	}
	for _, ip := range spec.ExternalIPs {
		add(ip, model.ExternalIP)
	}
	return slices.DeleteFunc(out, func(p place) bool { return !hasFamily(given, p.address) })
}

// hasFamily tells whether a Service has an address of that one's family among
// those that the cluster has given it: else it has no slices of the family.
func hasFamily(given []place, a netip.Addr) bool {
	return slices.ContainsFunc(given, func(p place) bool { return p.address.Is4() == a.Is4() })
}

func unspecified(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// frontend is that of one port at one address.
func frontend(name model.Name, service *corev1.Service, at place, port corev1.ServicePort) (model.Frontend, bool) {
	protocol, ok := protocolOf(port.Protocol)
	number := port.Port
	if at.kind == model.NodePort {
		number = port.NodePort
	}
	if !ok || number < 1 || number > 65535 {
		return model.Frontend{}, false
	}
	set := func(local bool) string {
		return model.BackendSetKey(name, uint16(port.Port), protocol, model.FamilyOf(at.address), local)
	}
	f := model.Frontend{
		Address: netip.AddrPortFrom(at.address, uint16(number)), Protocol: protocol, Kind: at.kind,
		Service: name, Port: uint16(port.Port),
	}
	if at.kind == model.ClusterIP {
		f.Internal = set(internalLocal(service))
		return f, true
	}
	f.KeepSource = externalLocal(service)
	f.Internal, f.External = set(false), set(f.KeepSource)
	return f, true
}

func internalLocal(service *corev1.Service) bool {
	p := service.Spec.InternalTrafficPolicy
	return p != nil && *p == corev1.ServiceInternalTrafficPolicyLocal
}

func externalLocal(service *corev1.Service) bool {
	return service.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}

func protocolOf(p corev1.Protocol) (model.L4Protocol, bool) {
	switch p {
	case corev1.ProtocolTCP, "":
		return model.TCP, true
	case corev1.ProtocolUDP:
		return model.UDP, true
	}
	return 0, false
}
