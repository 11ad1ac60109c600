package v2

import (
	"bytes"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Labels of the objects that the operator makes, for which it alone may write
// them: they lift the bounds of what a namespaced object may reach.
const (
	// LabelGeneratedFor is on every object that the operator made. Its value
	// is the kind that the object was made for: "Gateway", "Ingress".
	LabelGeneratedFor = "cec.waggle.io/generated-for"
	// LabelPartOf is on those of them that are parts of another one, whose
	// name it has. An object and its parts are one name space: their listeners,
	// routes and clusters find each other by their plain names.
	//
	//	kubectl get cec -A -l '!cec.waggle.io/part-of'
	LabelPartOf = "cec.waggle.io/part-of"
)

// Annotations of a CiliumEnvoyConfig, each "true" or "false".
const (
	// AnnotationInjectFilters is accepted for the sake of manifests that have
	// it. Whether policies apply is nothing that a user can choose here.
	AnnotationInjectFilters = "cec.cilium.io/inject-cilium-filters"
	// AnnotationIsL7LB tells whether the listeners stand in for Services.
	// Without it: whether the object names Services.
	AnnotationIsL7LB = "cec.cilium.io/is-l7lb"
	// AnnotationUseOriginalSourceAddress tells whether backends see the
	// client's address. Without it they do, unless a Gateway or an Ingress
	// owns the object.
	AnnotationUseOriginalSourceAddress = "cec.cilium.io/use-original-source-address"
)

// CiliumEnvoyConfig gives Envoy configuration for Services of its namespace.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:categories={cilium},singular="ciliumenvoyconfig",path="ciliumenvoyconfigs",scope="Namespaced",shortName={cec}
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:JSONPath=".metadata.creationTimestamp",description="The age of the object",name="Age",type=date
// +kubebuilder:printcolumn:JSONPath=".status.conditions[?(@.type=='Accepted')].status",description="Whether the object is valid",name="Accepted",type=string
// +kubebuilder:printcolumn:JSONPath=".status.conditions[?(@.type=='Programmed')].status",description="Whether Envoy uses it on every node that it is for",name="Programmed",type=string
// +kubebuilder:printcolumn:JSONPath=".status.conditions[?(@.status!='True')].reason",description="Why it is not",name="Reason",type=string
// +kubebuilder:storageversion
type CiliumEnvoyConfig struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	// +optional
	Spec CiliumEnvoyConfigSpec `json:"spec,omitempty"`
	// +optional
	Status CiliumEnvoyConfigStatus `json:"status,omitempty"`
}

// CiliumEnvoyConfigList is a list of CiliumEnvoyConfig objects.
//
// +kubebuilder:object:root=true
type CiliumEnvoyConfigList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`

	Items []CiliumEnvoyConfig `json:"items"`
}

// CiliumClusterwideEnvoyConfig gives Envoy configuration for Services of any
// namespace, and listeners at addresses of the nodes.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:categories={cilium},singular="ciliumclusterwideenvoyconfig",path="ciliumclusterwideenvoyconfigs",scope="Cluster",shortName={ccec}
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:JSONPath=".metadata.creationTimestamp",description="The age of the object",name="Age",type=date
// +kubebuilder:printcolumn:JSONPath=".status.conditions[?(@.type=='Accepted')].status",description="Whether the object is valid",name="Accepted",type=string
// +kubebuilder:printcolumn:JSONPath=".status.conditions[?(@.type=='Programmed')].status",description="Whether Envoy uses it on every node that it is for",name="Programmed",type=string
// +kubebuilder:printcolumn:JSONPath=".status.conditions[?(@.status!='True')].reason",description="Why it is not",name="Reason",type=string
// +kubebuilder:storageversion
type CiliumClusterwideEnvoyConfig struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	// +optional
	Spec CiliumEnvoyConfigSpec `json:"spec,omitempty"`
	// +optional
	Status CiliumEnvoyConfigStatus `json:"status,omitempty"`
}

// CiliumClusterwideEnvoyConfigList is a list of CiliumClusterwideEnvoyConfig
// objects.
//
// +kubebuilder:object:root=true
type CiliumClusterwideEnvoyConfigList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`

	Items []CiliumClusterwideEnvoyConfig `json:"items"`
}

// CiliumEnvoyConfigSpec is what Envoy is to do, for which Services, and where.
type CiliumEnvoyConfigSpec struct {
	// Services have their connections led to a listener of Resources.
	// +optional
	Services []ServiceListener `json:"services,omitempty"`
	// BackendServices are those whose endpoints Envoy is told, besides those
	// of Services: clusters of type EDS find them as "namespace/name", and as
	// "namespace/name:port" for each port that is named here.
	// +optional
	BackendServices []BackendService `json:"backendServices,omitempty"`
	// Resources are Envoy's own messages in JSON, each with its "@type":
	// Listener, RouteConfiguration, Cluster, ClusterLoadAssignment or Secret.
	// +optional
	Resources []EnvoyResource `json:"resources,omitempty"`
	// NodeSelector names the nodes where the object counts; all without it.
	// +optional
	NodeSelector *metav1.LabelSelector `json:"nodeSelector,omitempty"`
}

// ServiceListener names a Service and the listener that stands in for it.
type ServiceListener struct {
	// Name is the Service's.
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
	// Namespace is the Service's; without it the object's own, or "default"
	// for an object that has none.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// Ports are the Service's that are led to the listener; all without any.
	// +optional
	// +kubebuilder:validation:items:Minimum=1
	// +kubebuilder:validation:items:Maximum=65535
	Ports []uint16 `json:"ports,omitempty"`
	// Listener is the name of a listener in resources; the first one as
	// written without it.
	// +optional
	Listener string `json:"listener,omitempty"`
}

// BackendService names a Service whose endpoints Envoy is told.
type BackendService struct {
	// Name is the Service's.
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
	// Namespace is the Service's; without it the object's own, or "default"
	// for an object that has none.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// Ports are the Service's, each a number or a name; all without any.
	// +optional
	Ports []string `json:"number,omitempty"`
}

// EnvoyResource is one of Envoy's messages in JSON, as it was written.
//
// +kubebuilder:validation:Type=object
// +kubebuilder:pruning:PreserveUnknownFields
type EnvoyResource struct {
	JSON []byte `json:"-"`
}

// MarshalJSON gives the JSON as it is.
func (r EnvoyResource) MarshalJSON() ([]byte, error) {
	if len(r.JSON) == 0 {
		return []byte("null"), nil
	}
	return r.JSON, nil
}

// UnmarshalJSON keeps the JSON as it is.
func (r *EnvoyResource) UnmarshalJSON(text []byte) error {
	r.JSON = bytes.Clone(text)
	return nil
}

// Conditions of a CiliumEnvoyConfig.
const (
	// EnvoyConfigAccepted tells whether the object is valid.
	EnvoyConfigAccepted = "Accepted"
	// EnvoyConfigProgrammed tells whether Envoy uses the object on every node
	// that it is for.
	EnvoyConfigProgrammed = "Programmed"
)

// CiliumEnvoyConfigStatus is what became of the object.
type CiliumEnvoyConfigStatus struct {
	// Conditions are Accepted and Programmed.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Rejections are what Envoys have said against resources of the object,
	// those of a few nodes.
	// +optional
	// +kubebuilder:validation:MaxItems=16
	Rejections []EnvoyRejection `json:"rejections,omitempty"`
}

// EnvoyRejection is what one node's Envoy has said against a resource.
type EnvoyRejection struct {
	// Node is the node's name.
	Node string `json:"node"`
	// Resource is the resource's type and name.
	Resource string `json:"resource"`
	// Message is Envoy's.
	Message string `json:"message"`
}
