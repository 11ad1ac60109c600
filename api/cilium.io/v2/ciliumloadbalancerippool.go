package v2

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// CiliumLoadBalancerIPPool is a set of addresses that Services of type
// LoadBalancer are given.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:categories={cilium},singular="ciliumloadbalancerippool",path="ciliumloadbalancerippools",scope="Cluster",shortName={ippools,ippool,lbippool,lbippools}
// +kubebuilder:printcolumn:JSONPath=".spec.disabled",name="Disabled",type=boolean
// +kubebuilder:printcolumn:JSONPath=".status.conditions[?(@.type==\"cilium.io/PoolConflict\")].status",name="Conflicting",type=string
// +kubebuilder:printcolumn:JSONPath=".status.conditions[?(@.type==\"cilium.io/IPsAvailable\")].message",name="IPs Available",type=string
// +kubebuilder:printcolumn:JSONPath=".metadata.creationTimestamp",name="Age",type=date
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
type CiliumLoadBalancerIPPool struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec CiliumLoadBalancerIPPoolSpec `json:"spec"`
	// Status is written by the operator.
	//
	// +optional
	Status CiliumLoadBalancerIPPoolStatus `json:"status,omitzero"`
}

// CiliumLoadBalancerIPPoolList is a list of CiliumLoadBalancerIPPool objects.
//
// +kubebuilder:object:root=true
type CiliumLoadBalancerIPPoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`

	Items []CiliumLoadBalancerIPPool `json:"items"`
}

// CiliumLoadBalancerIPPoolSpec says which addresses go to which Services.
type CiliumLoadBalancerIPPoolSpec struct {
	// ServiceSelector selects the Services by their labels, and by
	// io.kubernetes.service.namespace and io.kubernetes.service.name, which
	// every Service has here. Absent: all.
	//
	// +optional
	ServiceSelector *metav1.LabelSelector `json:"serviceSelector,omitempty"`
	// AllowFirstLastIPs: "No" keeps back the first and the last address of each
	// cidr (not of those that have two addresses or one).
	//
	// +kubebuilder:validation:Enum=Yes;No
	// +optional
	AllowFirstLastIPs AllowFirstLastIPs `json:"allowFirstLastIPs,omitempty"`
	// Blocks are the pool's addresses.
	//
	// +optional
	Blocks []CiliumLoadBalancerIPPoolBlock `json:"blocks,omitempty"`
	// Disabled: nobody is given an address any more; who has one keeps it.
	//
	// +kubebuilder:default=false
	// +optional
	Disabled bool `json:"disabled,omitempty"`
}

// AllowFirstLastIPs is "Yes" (also when empty) or "No".
type AllowFirstLastIPs string

// Values of AllowFirstLastIPs.
const (
	AllowFirstLastIPsYes AllowFirstLastIPs = "Yes"
	AllowFirstLastIPsNo  AllowFirstLastIPs = "No"
)

// CiliumLoadBalancerIPPoolBlock is a CIDR, or the addresses from start to
// stop, or start alone.
//
// +kubebuilder:validation:XValidation:rule="has(self.cidr) != has(self.start)",message="give either cidr or start"
// +kubebuilder:validation:XValidation:rule="!has(self.stop) || has(self.start)",message="stop needs start"
type CiliumLoadBalancerIPPoolBlock struct {
	// +kubebuilder:validation:Format=cidr
	// +optional
	Cidr string `json:"cidr,omitempty"`
	// +optional
	Start string `json:"start,omitempty"`
	// +optional
	Stop string `json:"stop,omitempty"`
}

// CiliumLoadBalancerIPPoolStatus is what the operator says of a pool.
type CiliumLoadBalancerIPPoolStatus struct {
	// Conditions are those of the constants Pool*.
	//
	// +patchMergeKey=type
	// +patchStrategy=merge
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`
}

// Types of a pool's conditions. The last three are of status Unknown and have
// a number as message.
const (
	PoolConflict     = "cilium.io/PoolConflict"
	PoolIPsTotal     = "cilium.io/IPsTotal"
	PoolIPsAvailable = "cilium.io/IPsAvailable"
	PoolIPsUsed      = "cilium.io/IPsUsed"
)
