package daemon

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/waggle-mesh/waggle/internal/operator"
)

// chosenAnnotation remembers which fields of a Service's spec a class has
// chosen, so that they can be taken back; what others choose is left alone,
// until the Service is made anew. A Service without any does not have it.
const chosenAnnotation = "gateway.waggle.io/chosen"

// Fields whose value never changes, the first family's or while a Service is a load
// balancer's. What was chosen is remembered with them: where a webhook has made
// something else of it, it would of the next Service, too.
const (
	classField    = "loadBalancerClass"
	familiesField = "ipFamilies"
)

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
	before, forever, names := chosenBefore(o), lasting(row), []string(nil)
	was := func(field string) bool { _, ok := before[field]; return ok }
	for _, f := range []choosable{
		{"allocateLoadBalancerNodePorts", want.AllocateLoadBalancerNodePorts != nil,
			func() { spec.AllocateLoadBalancerNodePorts = want.AllocateLoadBalancerNodePorts },
			func() { spec.AllocateLoadBalancerNodePorts = nil }},
		{familiesField, len(want.IPFamilies) > 0, func() { setFamilies(want.IPFamilies, spec) }, func() {}},
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
			if value, ok := forever[f.name]; ok {
				f.name += "=" + value
			}
			names = append(names, f.name)
		case was(f.name):
			f.reset()
		}
	}
	if delete(o.Annotations, chosenAnnotation); len(names) > 0 {
		o.Annotations[chosenAnnotation] = strings.Join(names, ",")
	}
}

// chosenBefore are the fields that a class had chosen, with the values of those
// that never change.
func chosenBefore(o *corev1.Service) map[string]string {
	out := map[string]string{}
	for field := range strings.SplitSeq(o.Annotations[chosenAnnotation], ",") {
		name, value, _ := strings.Cut(field, "=")
		out[name] = value
	}
	return out
}

// setFamilies leaves alone a family that the API server has added.
func setFamilies(want []corev1.IPFamily, spec *corev1.ServiceSpec) {
	if len(spec.IPFamilies) < len(want) || !slices.Equal(spec.IPFamilies[:len(want)], want) {
		spec.IPFamilies = want
	}
}

// lasting are the values of fields that the class chooses and that never change.
func lasting(row operator.GatewayService) map[string]string {
	out := map[string]string{}
	if families := row.Chosen.IPFamilies; len(families) > 0 {
		out[familiesField] = string(families[0]) // the second may
	}
	if class := row.Chosen.LoadBalancerClass; class != nil {
		out[classField] = *class
	}
	return out
}

// mustBeAnew tells of a Service that the API server would not change: one's
// first family is for ever, and a load balancer's class as long as the Service
// is a load balancer's. One that was made of the same choice is as good as the
// next would be.
func mustBeAnew(row operator.GatewayService, o *corev1.Service) bool {
	want, before, have := lasting(row), chosenBefore(o), o.Spec
	differs := func(field, value string) bool {
		wanted, chosen := want[field]
		return chosen && value != wanted && before[field] != wanted
	}
	if len(have.IPFamilies) > 0 && differs(familiesField, string(have.IPFamilies[0])) {
		return true
	}
	if row.Type != corev1.ServiceTypeLoadBalancer || have.Type != corev1.ServiceTypeLoadBalancer {
		return false
	}
	class := ""
	if have.LoadBalancerClass != nil {
		class = *have.LoadBalancerClass
	}
	if _, chosen := want[classField]; chosen {
		return differs(classField, class)
	}
	_, was := before[classField]
	return was && class != ""
}
