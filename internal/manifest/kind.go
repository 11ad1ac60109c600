package manifest

import (
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/api/cilium.io/v2alpha1"
	"github.com/waggle-mesh/waggle/internal/manifest/builtin"
	"github.com/waggle-mesh/waggle/internal/manifest/crd"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/model/spell"
)

// Served are the types of the kinds that are read.
type Served interface {
	*gatewayv1.GatewayClass | *gatewayv1.Gateway | *gatewayv1.HTTPRoute | *gatewayv1.ReferenceGrant |
		*corev1.Service | *corev1.Namespace | *corev1.Secret | *discoveryv1.EndpointSlice |
		*ciliumv2.CiliumEnvoyConfig | *ciliumv2.CiliumClusterwideEnvoyConfig | *v2alpha1.CiliumGatewayClassConfig
}

// Table is what a Binding writes to: a flow.Table.
type Table[T any] interface {
	Set(row model.Object[T])
	Delete(key string)
}

// A Binding ties a kind to its table.
type Binding struct {
	kind   *kind
	set    func(name model.Name, version string, value metav1.Object)
	remove func(key string)
}

// Kind binds the kind of T to the table of its rows. A kind that is not bound
// is passed over like one that is not known.
func Kind[T Served](table Table[T]) Binding {
	t := reflect.TypeFor[T]()
	i := slices.IndexFunc(kinds, func(k *kind) bool { return reflect.TypeOf(k.new()) == t })
	return Binding{
		kind: kinds[i],
		set: func(name model.Name, version string, value metav1.Object) {
			table.Set(model.Object[T]{Name: name, Version: version, Value: value.(T)})
		},
		remove: table.Delete,
	}
}

// kind is what must be known of a kind to read it.
type kind struct {
	name       string   // "HTTPRoute"
	group      string   // empty for the core group
	versions   []string // accepted; the type is that of the first
	namespaced bool
	new        func() metav1.Object
	validName  validation.ValidateNameFunc
	// crd has the defaults and rules of kinds that are not built into
	// Kubernetes.
	crd *crd.Schema
	// finish gives an object the defaults of the API server and says what is
	// wrong with it; nil where crd does that.
	finish func(metav1.Object) field.ErrorList
}

// apiVersion is what objects of the kind carry once they are read.
func (k *kind) apiVersion() string {
	if k.group == "" {
		return k.versions[0]
	}
	return k.group + "/" + k.versions[0]
}

const gatewayGroup = gatewayv1.GroupName

var gatewayVersions = []string{"v1", "v1beta1"}

// kinds are those that can be bound.
var kinds = []*kind{
	{name: "GatewayClass", group: gatewayGroup, versions: gatewayVersions, new: func() metav1.Object { return new(gatewayv1.GatewayClass) },
		validName: validation.NameIsDNSSubdomain, crd: crd.New("GatewayClass")},
	{name: "Gateway", group: gatewayGroup, versions: gatewayVersions, new: func() metav1.Object { return new(gatewayv1.Gateway) },
		validName: validation.NameIsDNSSubdomain, crd: crd.New("Gateway"), namespaced: true},
	{name: "HTTPRoute", group: gatewayGroup, versions: gatewayVersions, new: func() metav1.Object { return new(gatewayv1.HTTPRoute) },
		validName: validation.NameIsDNSSubdomain, crd: crd.New("HTTPRoute"), namespaced: true},
	{name: "ReferenceGrant", group: gatewayGroup, versions: gatewayVersions, new: func() metav1.Object { return new(gatewayv1.ReferenceGrant) },
		validName: validation.NameIsDNSSubdomain, crd: crd.New("ReferenceGrant"), namespaced: true},
	{name: "Service", versions: []string{"v1"}, new: func() metav1.Object { return new(corev1.Service) },
		validName: validation.NameIsDNSLabel, finish: builtin.Service, namespaced: true},
	{name: "Namespace", versions: []string{"v1"}, new: func() metav1.Object { return new(corev1.Namespace) },
		validName: validation.ValidateNamespaceName, finish: builtin.Namespace},
	{name: "Secret", versions: []string{"v1"}, new: func() metav1.Object { return new(corev1.Secret) },
		validName: validation.NameIsDNSSubdomain, finish: builtin.Secret, namespaced: true},
	{name: "EndpointSlice", group: discoveryv1.GroupName, versions: []string{"v1"}, new: func() metav1.Object { return new(discoveryv1.EndpointSlice) },
		validName: validation.NameIsDNSSubdomain, finish: builtin.EndpointSlice, namespaced: true},
	{name: "CiliumEnvoyConfig", group: ciliumv2.GroupVersion.Group, versions: []string{"v2"}, new: func() metav1.Object { return new(ciliumv2.CiliumEnvoyConfig) },
		validName: validation.NameIsDNSSubdomain, crd: crd.New("CiliumEnvoyConfig"), namespaced: true},
	{name: "CiliumClusterwideEnvoyConfig", group: ciliumv2.GroupVersion.Group, versions: []string{"v2"}, new: func() metav1.Object { return new(ciliumv2.CiliumClusterwideEnvoyConfig) },
		validName: validation.NameIsDNSSubdomain, crd: crd.New("CiliumClusterwideEnvoyConfig")},
	{name: "CiliumGatewayClassConfig", group: v2alpha1.GroupVersion.Group, versions: []string{"v2alpha1"}, new: func() metav1.Object { return new(v2alpha1.CiliumGatewayClassConfig) },
		validName: validation.NameIsDNSSubdomain, crd: crd.New("CiliumGatewayClassConfig"), namespaced: true},
}

// bindings finds the binding of an object.
type bindings []*Binding

// find gives the binding for an object of the given group and kind.
func (bs bindings) find(group, name string) *Binding {
	for _, b := range bs {
		if b.kind.group == group && b.kind.name == name {
			return b
		}
	}
	return nil
}

// misspelt gives the kind that was probably meant by one that is not known.
func (bs bindings) misspelt(group, name string) (string, bool) {
	for _, b := range bs {
		if b.kind.group == group && (strings.EqualFold(b.kind.name, name) || spell.Distance(b.kind.name, name) == 1) {
			return b.kind.name, true
		}
	}
	return "", false
}
