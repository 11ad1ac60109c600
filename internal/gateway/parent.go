package gateway

import (
	"maps"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/gateway/field"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Parent is what routes see of a Gateway. It is a row of its own, so that a
// renewed certificate does not touch the routes.
type Parent struct {
	Name      model.Name
	Standing  Standing
	Listeners []ParentListener
}

// Key is the Gateway's name.
func (p Parent) Key() string { return p.Name.String() }

// Equal tells whether p and other say the same.
func (p Parent) Equal(other Parent) bool { return reflect.DeepEqual(p, other) }

// ParentListener is what routes see of a listener.
type ParentListener struct {
	Name string
	Port uint16 // as the Gateway has it
	// BindPort is where the port answers.
	BindPort uint16
	Protocol model.Protocol // empty if it is none that is served
	// Hostname is in lower case, and empty if the listener has none.
	Hostname string
	// Served tells whether the listener takes part: it is accepted, as is
	// the Gateway.
	Served bool
	// Routes tells whether HTTPRoutes may attach.
	Routes bool
	// From and Selector say from which namespaces. Selector is nil unless
	// From is Selector.
	From     gatewayv1.FromNamespaces
	Selector labels.Selector
}

// table is the route table of the listener's requests.
func (l ParentListener) table(gateway model.Name) string {
	if l.Protocol == model.HTTPS {
		return model.TableKey(gateway, l.Port, hostOrAny(l.Hostname))
	}
	return model.TableKey(gateway, l.Port, "")
}

// allows tells whether routes in a namespace may attach.
func (l ParentListener) allows(w World, gateway model.Name, namespace string) bool {
	if !l.Routes {
		return false
	}
	switch l.From {
	case gatewayv1.NamespacesFromAll:
		return true
	case gatewayv1.NamespacesFromSame:
		return namespace == gateway.Namespace
	case gatewayv1.NamespacesFromSelector:
		return l.Selector != nil && l.Selector.Matches(namespaceLabels(w, namespace))
	}
	return false
}

// namespaceLabels are a Namespace's labels with its name among them, as an
// API server writes it there and manifests do not.
func namespaceLabels(w World, namespace string) labels.Set {
	out := labels.Set{}
	maps.Copy(out, w.NamespaceLabels(namespace))
	out[corev1.LabelMetadataName] = namespace
	return out
}

// listener is the served listener that takes a host on a port: the most
// specific one that matches it. Two listeners of one port never have the
// same hostname.
func (p Parent) listener(port uint16, host string) (best ParentListener, ok bool) {
	for _, l := range p.Listeners {
		if l.Served && l.Port == port && field.Covers(l.Hostname, host) && (!ok || field.Narrower(l.Hostname, best.Hostname)) {
			best, ok = l, true
		}
	}
	return best, ok
}

// reachable is where a well-known port of the Gateway answers: behind the
// offset if the Gateway serves the protocol there.
func (p Parent) reachable(port uint16, protocol model.Protocol) uint16 {
	for _, l := range p.Listeners {
		if l.Served && l.Port == port && l.Protocol == protocol {
			return l.BindPort
		}
	}
	return port
}
