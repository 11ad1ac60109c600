package daemon

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/waggle-mesh/waggle/internal/operator"
)

// chosenAnnotation remembers which fields of a Service's spec a class has
// chosen, so that they can be taken back; what others choose is left alone. A
// Service without any does not have it.
const chosenAnnotation = "gateway.waggle.io/chosen"

// classField is the field whose value never changes while a Service is a load
// balancer's.
const classField = "loadBalancerClass"

// choosable is a field of a Service's spec that a class may choose.
type choosable struct {
	name       string
	chosen     bool
	set, reset func()
}

// setChosen sets what the Gateway's class chooses, and takes back what it chose
// before.
func setChosen(row operator.GatewayService, o *corev1.Service) {
	spec, want, both := &o.Spec, row.Chosen, corev1.IPFamilyPolicyPreferDualStack
	if spec.IPFamilyPolicy == nil {
		spec.IPFamilyPolicy = &both
	}
	before, names := chosenBefore(o), []string(nil)
	for _, f := range []choosable{
		{"allocateLoadBalancerNodePorts", want.AllocateLoadBalancerNodePorts != nil,
			func() { spec.AllocateLoadBalancerNodePorts = want.AllocateLoadBalancerNodePorts },
			func() { spec.AllocateLoadBalancerNodePorts = nil }},
		{"ipFamilies", len(want.IPFamilies) > 0, func() { setFamilies(want.IPFamilies, spec) }, func() {}},
		{"ipFamilyPolicy", want.IPFamilyPolicy != nil,
			func() { spec.IPFamilyPolicy = want.IPFamilyPolicy }, func() { spec.IPFamilyPolicy = &both }},
		{classField, want.LoadBalancerClass != nil,
			func() { spec.LoadBalancerClass = want.LoadBalancerClass }, func() { spec.LoadBalancerClass = nil }},
		{"loadBalancerSourceRanges", len(want.LoadBalancerSourceRanges) > 0,
			func() { spec.LoadBalancerSourceRanges = want.LoadBalancerSourceRanges }, func() { spec.LoadBalancerSourceRanges = nil }},
		{"trafficDistribution", want.TrafficDistribution != nil,
			func() { spec.TrafficDistribution = want.TrafficDistribution }, func() { spec.TrafficDistribution = nil }},
	} {
		switch {
		case f.chosen:
			f.set()
			names = append(names, f.name)
		case slices.Contains(before, f.name):
			f.reset()
		}
	}
	if delete(o.Annotations, chosenAnnotation); len(names) > 0 {
		o.Annotations[chosenAnnotation] = strings.Join(names, ",")
	}
}

// chosenBefore are the fields that a class had chosen.
func chosenBefore(o *corev1.Service) []string {
	return strings.Split(o.Annotations[chosenAnnotation], ",")
}

// setFamilies leaves alone a family that the API server has added.
func setFamilies(want []corev1.IPFamily, spec *corev1.ServiceSpec) {
	if len(spec.IPFamilies) < len(want) || !slices.Equal(spec.IPFamilies[:len(want)], want) {
		spec.IPFamilies = want
	}
}

// mustBeAnew tells of a Service that the API server would not change: one's
// first family is for ever, and a load balancer's class as long as the Service
// is a load balancer's.
func mustBeAnew(row operator.GatewayService, o *corev1.Service) bool {
	want, have := row.Chosen, o.Spec
	if len(want.IPFamilies) > 0 && len(have.IPFamilies) > 0 && want.IPFamilies[0] != have.IPFamilies[0] {
		return true
	}
	if row.Type != corev1.ServiceTypeLoadBalancer || have.Type != corev1.ServiceTypeLoadBalancer {
		return false
	}
	if want.LoadBalancerClass == nil {
		return have.LoadBalancerClass != nil && slices.Contains(chosenBefore(o), classField)
	}
	return have.LoadBalancerClass == nil || *have.LoadBalancerClass != *want.LoadBalancerClass
}
