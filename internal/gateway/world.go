package gateway

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/model"
)

// World is what the stage's functions read besides the row they are called
// with. The graph implements it over tables and records each read.
type World interface {
	// Class is the row of a GatewayClass.
	Class(name string) (Class, bool)
	// Parent is what routes see of a Gateway, be it ours or not.
	Parent(gateway model.Name) (Parent, bool)
	// NamespaceLabels are the labels of a Namespace, nil if it is not known.
	NamespaceLabels(namespace string) map[string]string
	// Service is a Service as it stands.
	Service(name model.Name) (*corev1.Service, bool)
	// Certificate is the row of a Secret.
	Certificate(secret model.Name) (Certificate, bool)
	// Grants are the ReferenceGrants in a namespace, in any order.
	Grants(namespace string) []*gatewayv1.ReferenceGrant
	// Expired tells whether a certificate's end has passed. The graph calls
	// the reader again when it has.
	Expired(notAfter time.Time) bool
}

// Stage holds the settings of the translation.
type Stage struct {
	// Controller is the controller name of the GatewayClasses that are ours:
	// "io.cilium/gateway-controller".
	Controller string
	// PortOffset is added to a listener's port to give the port it answers
	// on, 0 to 65534.
	PortOffset int
}
