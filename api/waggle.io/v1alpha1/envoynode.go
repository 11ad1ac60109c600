package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// EnvoyNode is what the Envoy of one node has said of the configuration that it
// was given. Its name is the node's. The node's agent writes it, at most once a
// second: first when Envoy has answered all that it was given at the start.
// From then on the node counts for what is "Programmed", while it is Ready.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:categories={waggle},singular="envoynode",path="envoynodes",scope="Cluster"
// +kubebuilder:printcolumn:JSONPath=".rejected[*].resource",description="Resources that Envoy has rejected",name="Rejected",type=string
// +kubebuilder:printcolumn:JSONPath=".metadata.creationTimestamp",description="The age of the object",name="Age",type=date
// +kubebuilder:storageversion
type EnvoyNode struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	// Configs are the CiliumEnvoyConfigs and CiliumClusterwideEnvoyConfigs
	// that Envoy has answered, sorted by namespace and name. Parts of others
	// are among them only where they have listeners. Many are in Digests.
	// +optional
	// +listType=atomic
	Configs []AnsweredConfig `json:"configs,omitempty"`
	// Digests stand for Configs where these would be long: the eight characters
	// of each one's digest, sorted, one after the other.
	// +optional
	// +kubebuilder:validation:Pattern=`^([0-9A-Za-z_-]{8})*$`
	Digests string `json:"digests,omitempty"`
	// Rejected are the resources that Envoy has rejected in their newest
	// version, also those of parts, sorted; no more than 50.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=50
	Rejected []RejectedResource `json:"rejected,omitempty"`
	// MoreRejected counts those beyond the 50.
	// +optional
	MoreRejected int32 `json:"moreRejected,omitempty"`
}

// EnvoyNodeList is a list of EnvoyNode objects.
//
// +kubebuilder:object:root=true
type EnvoyNodeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`

	Items []EnvoyNode `json:"items"`
}

// AnsweredConfig is an object whose resources Envoy has all answered, be it by
// rejecting some, and whose Services it stands in for.
type AnsweredConfig struct {
	// Namespace is empty for a CiliumClusterwideEnvoyConfig.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// Name is the object's.
	Name string `json:"name"`
	// Generation is the newest of the object of which this is so.
	Generation int64 `json:"generation"`
}

// RejectedResource is a resource that Envoy does not use as it is.
type RejectedResource struct {
	// Namespace and Name are those of the object that the resource is from.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// Generation is the object's that was rejected.
	Generation int64 `json:"generation"`
	// Type is the resource's message, such as "envoy.config.listener.v3.Listener".
	Type string `json:"type"`
	// Resource is the resource's name in Envoy.
	Resource string `json:"resource"`
	// Message is Envoy's.
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message"`
}
