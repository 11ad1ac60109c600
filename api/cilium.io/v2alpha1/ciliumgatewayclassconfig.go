package v2alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// CiliumGatewayClassConfig has settings of the Gateways of the GatewayClasses
// whose spec.parametersRef names it.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:categories={cilium},singular="ciliumgatewayclassconfig",path="ciliumgatewayclassconfigs",scope="Namespaced",shortName={cgcc}
// +kubebuilder:printcolumn:JSONPath=".status.conditions[?(@.type=='Accepted')].status",name="Accepted",type=string
// +kubebuilder:printcolumn:JSONPath=".metadata.creationTimestamp",name="Age",type=date
// +kubebuilder:printcolumn:JSONPath=".spec.description",name="Description",type=string,priority=1
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
type CiliumGatewayClassConfig struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	// +optional
	Spec CiliumGatewayClassConfigSpec `json:"spec,omitempty"`
	// Status is written by the operator.
	//
	// +optional
	Status CiliumGatewayClassConfigStatus `json:"status,omitzero"`
}

// CiliumGatewayClassConfigList is a list of CiliumGatewayClassConfig objects.
//
// +kubebuilder:object:root=true
type CiliumGatewayClassConfigList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`

	Items []CiliumGatewayClassConfig `json:"items"`
}

// CiliumGatewayClassConfigSpec is what holds for each Gateway of a class.
type CiliumGatewayClassConfigSpec struct {
	// Description is for people.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Description *string `json:"description,omitempty"`
	// Service has the settings of Gateways' Services.
	//
	// +optional
	Service *GatewayServiceConfig `json:"service,omitempty"`
	// HTTPOptions, Telemetry and Envoy are Cilium's, and refused where they are
	// set: they are not built.
	//
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	HTTPOptions *runtime.RawExtension `json:"httpOptions,omitempty"`
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	Telemetry *runtime.RawExtension `json:"telemetry,omitempty"`
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	Envoy *runtime.RawExtension `json:"envoy,omitempty"`
}

// GatewayServiceConfig has the fields of the spec of a Gateway's Service that
// may be chosen; see Service in https://kubernetes.io/docs/reference/kubernetes-api/.
//
// +kubebuilder:validation:XValidation:rule="!has(self.type) || self.type == 'LoadBalancer' || !has(self.loadBalancerClass) && !has(self.allocateLoadBalancerNodePorts) && (!has(self.loadBalancerSourceRanges) || size(self.loadBalancerSourceRanges) == 0)",message="loadBalancerClass, allocateLoadBalancerNodePorts and loadBalancerSourceRanges need type LoadBalancer"
// +kubebuilder:validation:XValidation:rule="!has(self.type) || self.type != 'ClusterIP' || !has(self.externalTrafficPolicy) || self.externalTrafficPolicy != 'Local'",message="externalTrafficPolicy Local needs type LoadBalancer or NodePort"
// +kubebuilder:validation:XValidation:rule="!has(self.ipFamilyPolicy) || self.ipFamilyPolicy != 'SingleStack' || !has(self.ipFamilies) || size(self.ipFamilies) < 2",message="ipFamilyPolicy SingleStack leaves room for one of ipFamilies"
type GatewayServiceConfig struct {
	// Type is LoadBalancer where it is absent. A Gateway with a Service of type
	// NodePort has the nodes' addresses, one with a ClusterIP that.
	//
	// +optional
	// +kubebuilder:validation:Enum=ClusterIP;LoadBalancer;NodePort
	Type corev1.ServiceType `json:"type,omitempty"`
	// ExternalTrafficPolicy is that of all Gateways where it is absent.
	//
	// +optional
	// +kubebuilder:validation:Enum=Cluster;Local
	ExternalTrafficPolicy corev1.ServiceExternalTrafficPolicy `json:"externalTrafficPolicy,omitempty"`
	// LoadBalancerClass names who gives the Service its addresses.
	//
	// +optional
	LoadBalancerClass *string `json:"loadBalancerClass,omitempty"`
	// IPFamilies are those of the Service, the first one before the other.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=2
	// +kubebuilder:validation:items:Enum=IPv4;IPv6
	IPFamilies []corev1.IPFamily `json:"ipFamilies,omitempty"`
	// IPFamilyPolicy is PreferDualStack where it is absent.
	//
	// +optional
	// +kubebuilder:validation:Enum=SingleStack;PreferDualStack;RequireDualStack
	IPFamilyPolicy *corev1.IPFamilyPolicy `json:"ipFamilyPolicy,omitempty"`
	// AllocateLoadBalancerNodePorts: false where the Service needs no NodePorts.
	//
	// +optional
	AllocateLoadBalancerNodePorts *bool `json:"allocateLoadBalancerNodePorts,omitempty"`
	// LoadBalancerSourceRanges are those whose connections the load balancer
	// takes. Waggle is none that does: needs a LoadBalancerClass of another.
	//
	// +optional
	// +listType=atomic
	LoadBalancerSourceRanges []string `json:"loadBalancerSourceRanges,omitempty"`
	// LoadBalancerSourceRangesPolicy: Deny would turn the ranges round, which
	// only Cilium does.
	//
	// +optional
	// +kubebuilder:validation:Enum=Allow;Deny
	LoadBalancerSourceRangesPolicy string `json:"loadBalancerSourceRangesPolicy,omitempty"`
	// TrafficDistribution is written into the Service. Each node's Envoy
	// chooses among the endpoints of routes' backends by their own.
	//
	// +optional
	TrafficDistribution *string `json:"trafficDistribution,omitempty"`
}

// CiliumGatewayClassConfigStatus is what the operator says of the settings.
type CiliumGatewayClassConfigStatus struct {
	// Conditions: Accepted is False where the settings cannot be used; then
	// neither can the GatewayClasses that name them. What was made for their
	// Gateways stays as it is until they can, and nothing is made.
	//
	// +patchMergeKey=type
	// +patchStrategy=merge
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`
}
