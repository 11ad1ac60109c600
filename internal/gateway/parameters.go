package gateway

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/api/cilium.io/v2alpha1"
	"github.com/waggle-mesh/waggle/internal/gateway/field"
	"github.com/waggle-mesh/waggle/internal/model"
)

// ParametersKind is the kind of the objects that spec.parametersRef of a
// GatewayClass may name.
const ParametersKind = "CiliumGatewayClassConfig"

// parameters are the settings that a class names, or why they cannot be used.
func parameters(w World, ref *gatewayv1.ParametersReference) (*v2alpha1.GatewayServiceConfig, Problem) {
	invalid := func(format string, args ...any) (*v2alpha1.GatewayServiceConfig, Problem) {
		return nil, field.New(gatewayv1.GatewayClassReasonInvalidParameters, format, args...)
	}
	if string(ref.Group) != v2alpha1.GroupVersion.Group || ref.Kind != ParametersKind {
		return invalid("spec.parametersRef: %s %s of group %s is not supported; name a %s of group %s, or remove the reference",
			ref.Kind, field.Quoted(ref.Name), field.Quoted(string(ref.Group)), ParametersKind, v2alpha1.GroupVersion.Group)
	}
	if ref.Namespace == nil {
		return invalid("spec.parametersRef.namespace: is missing; name that of %s %s", ref.Kind, field.Quoted(ref.Name))
	}
	name := model.Name{Namespace: string(*ref.Namespace), Name: ref.Name}
	config, ok := w.Parameters(name)
	if !ok {
		return invalid("spec.parametersRef: %s %s does not exist; create it, or correct the name", ref.Kind, name)
	}
	if wrong := ParametersProblem(config); !wrong.OK() {
		return invalid("spec.parametersRef: %s %s: %s", ref.Kind, name, wrong.Message)
	}
	return config.Spec.Service, Problem{}
}

// ParametersProblem says what is wrong with the settings of classes. Such as
// would have no effect are refused, but for Cluster and Allow, which Cilium's
// definition puts into each object.
func ParametersProblem(config *v2alpha1.CiliumGatewayClassConfig) Problem {
	var all []Problem
	say := func(format string, args ...any) {
		all = append(all, field.New(gatewayv1.GatewayClassReasonInvalidParameters, format, args...))
	}
	for _, absent := range []struct {
		name  string
		value *runtime.RawExtension
	}{{"httpOptions", config.Spec.HTTPOptions}, {"telemetry", config.Spec.Telemetry}, {"envoy", config.Spec.Envoy}} {
		if absent.value != nil {
			say("spec.%s: is not supported; remove the field", absent.name)
		}
	}
	if s := config.Spec.Service; s != nil {
		loadBalancerProblems(s, say)
		if s.LoadBalancerSourceRangesPolicy == "Deny" {
			say("spec.service.loadBalancerSourceRangesPolicy: Deny is not supported; remove the field")
		}
		familyProblems(s, say)
		distributions := []string{"PreferClose", "PreferSameZone", "PreferSameNode"}
		if d := s.TrafficDistribution; d != nil && !slices.Contains(distributions, *d) {
			say("spec.service.trafficDistribution: %s is none of %s", field.Quoted(*d), strings.Join(distributions, ", "))
		}
	}
	return field.Join(all)
}

// loadBalancerProblems looks at who is to give the Service its addresses.
func loadBalancerProblems(s *v2alpha1.GatewayServiceConfig, say func(format string, args ...any)) {
	switch s.Type {
	case "", corev1.ServiceTypeLoadBalancer:
	case corev1.ServiceTypeNodePort, corev1.ServiceTypeClusterIP:
		const only = "spec.service.%s: has no meaning with type %s; remove the field"
		if s.LoadBalancerClass != nil {
			say(only, "loadBalancerClass", s.Type)
		}
		if s.AllocateLoadBalancerNodePorts != nil {
			say(only, "allocateLoadBalancerNodePorts", s.Type)
		}
		if len(s.LoadBalancerSourceRanges) > 0 {
			say(only, "loadBalancerSourceRanges", s.Type)
		}
		if s.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal && s.Type == corev1.ServiceTypeClusterIP {
			say(only, "externalTrafficPolicy", s.Type)
		}
		return
	default:
		say("spec.service.type: %s is not supported; use LoadBalancer, NodePort or ClusterIP", field.Quoted(string(s.Type)))
		return
	}
	class := s.LoadBalancerClass
	if class != nil && len(validation.IsQualifiedName(*class)) > 0 {
		say("spec.service.loadBalancerClass: %s is no name such as example.com/internal", field.Quoted(*class))
	}
	if len(s.LoadBalancerSourceRanges) > 0 && (class == nil || strings.HasPrefix(*class, "io.cilium/")) {
		say("spec.service.loadBalancerSourceRanges: is enforced by load balancers of others alone; set loadBalancerClass to one's, or remove the field")
	}
	for i, text := range s.LoadBalancerSourceRanges {
		if _, err := netip.ParsePrefix(strings.TrimSpace(text)); err != nil {
			say("spec.service.loadBalancerSourceRanges[%d]: %s is no range such as 192.0.2.0/24", i, field.Quoted(text))
		}
	}
}

// familyProblems looks at the families of the Service's addresses.
func familyProblems(s *v2alpha1.GatewayServiceConfig, say func(format string, args ...any)) {
	for i, family := range s.IPFamilies {
		if family != corev1.IPv4Protocol && family != corev1.IPv6Protocol {
			say("spec.service.ipFamilies[%d]: %s is neither IPv4 nor IPv6", i, field.Quoted(string(family)))
		} else if slices.Contains(s.IPFamilies[:i], family) {
			say("spec.service.ipFamilies[%d]: %s is there twice", i, family)
		}
	}
	if p := s.IPFamilyPolicy; p != nil && *p == corev1.IPFamilyPolicySingleStack && len(s.IPFamilies) > 1 {
		say("spec.service.ipFamilies: there are two, with ipFamilyPolicy SingleStack; leave one")
	}
}

// ParametersCondition is the condition Accepted of settings of classes, without
// a time.
func ParametersCondition(config *v2alpha1.CiliumGatewayClassConfig) metav1.Condition {
	return condition(gatewayv1.GatewayClassConditionStatusAccepted, gatewayv1.GatewayClassReasonAccepted,
		"GatewayClasses may name it", ParametersProblem(config), config.Generation)
}
