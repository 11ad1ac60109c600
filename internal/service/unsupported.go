package service

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

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
	if mode := service.Annotations["service.kubernetes.io/topology-mode"]; mode != "" && mode != "Disabled" && mode != "disabled" {
		say("metadata.annotations[service.kubernetes.io/topology-mode]", "%s is not supported; all backends are equal", mode)
	}
	for _, name := range []string{"lb-algorithm", "src-ranges-policy", "forwarding-mode", "proxy-delegation", "type", "node", "node-selector"} {
		if v, ok := service.Annotations["service.cilium.io/"+name]; ok {
			say("metadata.annotations[service.cilium.io/"+name+"]", "%q is not supported", v)
		}
	}
	return out
}
