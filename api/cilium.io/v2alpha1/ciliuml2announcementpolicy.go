package v2alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// CiliumL2AnnouncementPolicy says which nodes answer ARP and neighbour
// solicitations for which addresses of Services.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:categories={cilium},singular="ciliuml2announcementpolicy",path="ciliuml2announcementpolicies",scope="Cluster",shortName={l2announcement}
// +kubebuilder:printcolumn:JSONPath=".metadata.creationTimestamp",name="Age",type=date
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
type CiliumL2AnnouncementPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec CiliumL2AnnouncementPolicySpec `json:"spec"`
	// Status is written by the operator.
	//
	// +optional
	Status CiliumL2AnnouncementPolicyStatus `json:"status,omitzero"`
}

// CiliumL2AnnouncementPolicyList is a list of CiliumL2AnnouncementPolicy
// objects.
//
// +kubebuilder:object:root=true
type CiliumL2AnnouncementPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`

	Items []CiliumL2AnnouncementPolicy `json:"items"`
}

// CiliumL2AnnouncementPolicySpec chooses Services, addresses, nodes and
// devices.
type CiliumL2AnnouncementPolicySpec struct {
	// NodeSelector selects the nodes that may announce. Absent: all.
	//
	// +optional
	NodeSelector *metav1.LabelSelector `json:"nodeSelector,omitempty"`
	// ServiceSelector selects the Services by their labels, and by
	// io.kubernetes.service.namespace and io.kubernetes.service.name.
	// Absent: all.
	//
	// +optional
	ServiceSelector *metav1.LabelSelector `json:"serviceSelector,omitempty"`
	// LoadBalancerIPs: announce addresses of status.loadBalancer.
	//
	// +optional
	LoadBalancerIPs bool `json:"loadBalancerIPs,omitempty"`
	// ExternalIPs: announce addresses of spec.externalIPs.
	//
	// +optional
	ExternalIPs bool `json:"externalIPs,omitempty"`
	// Interfaces are regular expressions of names of devices. Empty: all
	// through which the node is reached.
	//
	// +optional
	Interfaces []string `json:"interfaces,omitempty"`
}

// CiliumL2AnnouncementPolicyStatus is what the operator says of a policy.
type CiliumL2AnnouncementPolicyStatus struct {
	// Conditions: io.cilium/bad-service-selector, io.cilium/bad-node-selector
	// and io.cilium/bad-interface-regex are there and True where the policy
	// cannot be used.
	//
	// +patchMergeKey=type
	// +patchStrategy=merge
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`
}
