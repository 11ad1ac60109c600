package service

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/waggle-mesh/waggle/internal/model"
)

// unsupportedAnnotations are Cilium's that ask for something.
var unsupportedAnnotations = []string{
	"service.cilium.io/lb-algorithm", "service.cilium.io/src-ranges-policy",
	"service.cilium.io/forwarding-mode", "service.cilium.io/proxy-delegation", "service.cilium.io/type", "service.cilium.io/node",
	"service.cilium.io/node-selector", "service.cilium.io/global", "service.cilium.io/shared", "service.cilium.io/affinity",
	"service.cilium.io/global-sync-endpoint-slices", "io.cilium/global-service", "io.cilium/shared-service", "io.cilium/service-affinity",
}

// Unsupported says which fields of a Service have no effect, one sentence
// each, beginning with the field.
func Unsupported(service *corev1.Service) []string {
	spec := service.Spec
	if spec.Type == corev1.ServiceTypeExternalName || spec.ClusterIP == corev1.ClusterIPNone {
		return nil // is for DNS alone
	}
	if hasLabel(service.Labels, labelServiceProxyName) {
		return nil // is another's
	}
	var out []string
	say := func(field, format string, args ...any) { out = append(out, field+": "+fmt.Sprintf(format, args...)) }
	for i, p := range spec.Ports {
		if _, ok := protocolOf(p.Protocol); !ok {
			say(fmt.Sprintf("spec.ports[%d].protocol", i), "%s is not supported; the port answers nowhere", p.Protocol)
		}
	}
	if spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		say("spec.sessionAffinity", "ClientIP is not supported; each connection chooses a backend anew")
	}
	if len(spec.LoadBalancerSourceRanges) > 0 {
		say("spec.loadBalancerSourceRanges", "not enforced; every source is allowed")
	}
	if spec.HealthCheckNodePort != 0 {
		say("spec.healthCheckNodePort", "not served; a load balancer that asks port %d finds every node unhealthy", spec.HealthCheckNodePort)
	}
	if d := spec.TrafficDistribution; d != nil && *d != "" {
		say("spec.trafficDistribution", "%s is not supported; all backends are equal", *d)
	}
	for _, name := range []string{"service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints"} {
		if mode := service.Annotations[name]; mode != "" && mode != "Disabled" && mode != "disabled" {
			say("metadata.annotations["+name+"]", "%s is not supported; all backends are equal", mode)
		}
	}
	given := slices.DeleteFunc(places(service), func(p place) bool { return p.kind != model.ClusterIP })
	for i, text := range spec.ExternalIPs {
		if a, err := netip.ParseAddr(text); err == nil && len(given) > 0 && !hasFamily(given, a.Unmap()) {
			say(fmt.Sprintf("spec.externalIPs[%d]", i), "%s is not of the Service's IP family; the Service does not answer there", a)
		}
	}
	for _, name := range unsupportedAnnotations {
		if v, ok := service.Annotations[name]; ok && v != "false" && v != "disabled" && v != "none" {
			say("metadata.annotations["+name+"]", "%q is not supported", v)
		}
	}
	return out
}
