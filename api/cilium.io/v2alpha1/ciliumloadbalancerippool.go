package v2alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
)

// CiliumLoadBalancerIPPool is the older name of the one in package v2. The API
// server stores that one and serves both.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:categories={cilium},singular="ciliumloadbalancerippool",path="ciliumloadbalancerippools",scope="Cluster",shortName={ippools,ippool,lbippool,lbippools}
// +kubebuilder:printcolumn:JSONPath=".spec.disabled",name="Disabled",type=boolean
// +kubebuilder:printcolumn:JSONPath=".status.conditions[?(@.type==\"cilium.io/PoolConflict\")].status",name="Conflicting",type=string
// +kubebuilder:printcolumn:JSONPath=".status.conditions[?(@.type==\"cilium.io/IPsAvailable\")].message",name="IPs Available",type=string
// +kubebuilder:printcolumn:JSONPath=".metadata.creationTimestamp",name="Age",type=date
// +kubebuilder:subresource:status
// +kubebuilder:deprecatedversion:warning="cilium.io/v2alpha1 CiliumLoadBalancerIPPool is deprecated; use cilium.io/v2 CiliumLoadBalancerIPPool"
type CiliumLoadBalancerIPPool struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec ciliumv2.CiliumLoadBalancerIPPoolSpec `json:"spec"`
	// +optional
	Status ciliumv2.CiliumLoadBalancerIPPoolStatus `json:"status,omitzero"`
}

// CiliumLoadBalancerIPPoolList is a list of CiliumLoadBalancerIPPool objects.
//
// +kubebuilder:object:root=true
type CiliumLoadBalancerIPPoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`

	Items []CiliumLoadBalancerIPPool `json:"items"`
}
