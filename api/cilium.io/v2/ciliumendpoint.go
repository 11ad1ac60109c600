package v2

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// CiliumEndpoint says which addresses and which identity a pod has. It has the
// pod's name and namespace, and is written by the agent of the pod's node.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:categories={cilium},singular="ciliumendpoint",path="ciliumendpoints",scope="Namespaced",shortName={cep,ciliumep}
// +kubebuilder:printcolumn:JSONPath=".status.identity.id",description="Security Identity",name="Security Identity",type=integer
// +kubebuilder:printcolumn:JSONPath=".status.policy.ingress.state",description="Ingress enforcement in the endpoint",name="Ingress Enforcement",type=string,priority=1
// +kubebuilder:printcolumn:JSONPath=".status.policy.egress.state",description="Egress enforcement in the endpoint",name="Egress Enforcement",type=string,priority=1
// +kubebuilder:printcolumn:JSONPath=".status.state",description="Endpoint current state",name="Endpoint State",type=string
// +kubebuilder:printcolumn:JSONPath=".status.networking.addressing[0].ipv4",description="Endpoint IPv4 address",name="IPv4",type=string
// +kubebuilder:printcolumn:JSONPath=".status.networking.addressing[0].ipv6",description="Endpoint IPv6 address",name="IPv6",type=string
// +kubebuilder:storageversion
type CiliumEndpoint struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	// Status is the whole object: nobody wishes for an endpoint.
	// +optional
	Status EndpointStatus `json:"status,omitempty"`
}

// CiliumEndpointList is a list of CiliumEndpoint objects.
//
// +kubebuilder:object:root=true
type CiliumEndpointList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`

	Items []CiliumEndpoint `json:"items"`
}

// EndpointStatus is a pod as the network knows it.
type EndpointStatus struct {
	// ID is the endpoint's on its node, 1 and above.
	ID int64 `json:"id,omitempty"`
	// ExternalIdentifiers are the names that others have for the endpoint.
	ExternalIdentifiers *EndpointIdentifiers `json:"external-identifiers,omitempty"`
	// Identity is absent while the pod's labels are not known.
	Identity *EndpointIdentity `json:"identity,omitempty"`
	// Networking is where the endpoint can be reached.
	Networking *EndpointNetworking `json:"networking,omitempty"`
	// Encryption is of use to other implementations.
	Encryption EncryptionSpec `json:"encryption,omitempty"`
	// Policy says what is enforced.
	Policy *EndpointPolicy `json:"policy,omitempty"`
	// State is "ready", or "waiting-for-identity".
	State string `json:"state,omitempty"`
	// NamedPorts are the container ports that have names.
	NamedPorts []NamedPort `json:"named-ports,omitempty"`
}

// EndpointIdentifiers are the names that others have for an endpoint.
type EndpointIdentifiers struct {
	// ContainerID is the ID of the pod's sandbox.
	ContainerID string `json:"container-id,omitempty"`
	// CNIAttachmentID is "container:interface".
	CNIAttachmentID string `json:"cni-attachment-id,omitempty"`
	// K8sNamespace is the pod's namespace.
	K8sNamespace string `json:"k8s-namespace,omitempty"`
	// K8sPodName is the pod's name.
	K8sPodName string `json:"k8s-pod-name,omitempty"`
	// PodName is "namespace/name".
	PodName string `json:"pod-name,omitempty"`
}

// EndpointIdentity is the security identity of an endpoint.
type EndpointIdentity struct {
	// ID is the number.
	ID int64 `json:"id,omitempty"`
	// Labels are those that it stands for, "k8s:app=web", in order.
	Labels []string `json:"labels,omitempty"`
}

// EndpointNetworking is where an endpoint can be reached.
type EndpointNetworking struct {
	// Addressing are the endpoint's own addresses.
	Addressing []AddressPair `json:"addressing"`
	// NodeIP is an address of the endpoint's node that other nodes reach.
	NodeIP string `json:"node,omitempty"`
}

// AddressPair is an IPv4 address, an IPv6 address, or one of each.
type AddressPair struct {
	// IPV4 is an IPv4 address.
	IPV4 string `json:"ipv4,omitempty"`
	// IPV6 is an IPv6 address.
	IPV6 string `json:"ipv6,omitempty"`
}

// EncryptionSpec says which key others encrypt with.
type EncryptionSpec struct {
	// Key is the index of the key, 0 without encryption.
	Key int `json:"key,omitempty"`
}

// EndpointPolicy says what is enforced at an endpoint.
type EndpointPolicy struct {
	// Ingress is about connections to the endpoint.
	Ingress *EndpointPolicyDirection `json:"ingress,omitempty"`
	// Egress is about connections of the endpoint.
	Egress *EndpointPolicyDirection `json:"egress,omitempty"`
}

// EndpointPolicyDirection says what is enforced in one direction.
type EndpointPolicyDirection struct {
	// Enforcing tells whether what no rule allows is dropped.
	Enforcing bool `json:"enforcing"`
	// State is "enforcing", "non-enforcing" or "<status disabled>".
	State string `json:"state,omitempty"`
}

// NamedPort is a container port that has a name.
type NamedPort struct {
	// Name is the port's name.
	Name string `json:"name,omitempty"`
	// Port is its number.
	Port uint16 `json:"port,omitempty"`
	// Protocol is "TCP", "UDP" or "SCTP".
	Protocol string `json:"protocol,omitempty"`
}
