package gateway

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/waggle-mesh/waggle/api/cilium.io/v2alpha1"
	"github.com/waggle-mesh/waggle/internal/gateway/field"
	"github.com/waggle-mesh/waggle/internal/gateway/rule"
	"github.com/waggle-mesh/waggle/internal/model"
)

// World is what the stage's functions read besides the row they are called
// with. The graph implements it over tables and records each read.
type World interface {
	rule.World // Services and ReferenceGrants
	// Parameters are the settings that a GatewayClass may name.
	Parameters(name model.Name) (*v2alpha1.CiliumGatewayClassConfig, bool)
	// Class is the row of a GatewayClass.
	Class(name string) (Class, bool)
	// Parent is what routes see of a Gateway, be it ours or not.
	Parent(gateway model.Name) (Parent, bool)
	// NamespaceLabels are the labels of a Namespace, nil if it is not known.
	NamespaceLabels(namespace string) map[string]string
	// Certificate is the row of a Secret.
	Certificate(secret model.Name) (Certificate, bool)
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
	// Infrastructure: objects are made for Gateways, which have the labels and
	// annotations of spec.infrastructure.
	Infrastructure bool
	// IgnoreAppProtocol: HTTP/1.1 is spoken to backends, whatever their
	// Services' ports say.
	IgnoreAppProtocol bool
}

// Problem is a reason of the Gateway API's and a message for people. The zero
// Problem stands for none.
type Problem = field.Problem

// plain is a World in which no port of a Service has an appProtocol.
type plain struct{ World }

// Service is the Service without what is not heeded.
func (p plain) Service(name model.Name) (*corev1.Service, bool) {
	s, ok := p.World.Service(name)
	if ok {
		s = s.DeepCopy()
		for i := range s.Spec.Ports {
			s.Spec.Ports[i].AppProtocol = nil
		}
	}
	return s, ok
}
