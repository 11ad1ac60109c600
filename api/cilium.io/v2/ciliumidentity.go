package v2

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// CiliumIdentity is a security identity: a number, which is the object's name,
// and the labels that it stands for. The object's own labels are those that
// come from Kubernetes, to search by:
//
//	kubectl get ciliumid -l app=web
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:categories={cilium},singular="ciliumidentity",path="ciliumidentities",scope="Cluster",shortName={ciliumid}
// +kubebuilder:printcolumn:JSONPath=".metadata.labels.io\\.kubernetes\\.pod\\.namespace",description="The namespace of the entity",name="Namespace",type=string
// +kubebuilder:printcolumn:JSONPath=".metadata.creationTimestamp",description="The age of the identity",name="Age",type=date
// +kubebuilder:storageversion
type CiliumIdentity struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	// SecurityLabels are the labels that define the identity, each key with
	// its source: "k8s:app". No other identity has the same.
	SecurityLabels map[string]string `json:"security-labels"`
}

// CiliumIdentityList is a list of CiliumIdentity objects.
//
// +kubebuilder:object:root=true
type CiliumIdentityList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`

	Items []CiliumIdentity `json:"items"`
}
