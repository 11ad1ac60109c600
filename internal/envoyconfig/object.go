package envoyconfig

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/envoyconfig/allow"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Object is an object of one of the two kinds.
type Object struct {
	Ref  model.Ref
	Meta *metav1.ObjectMeta
	Spec *ciliumv2.CiliumEnvoyConfigSpec
}

// Kinds of Objects.
const (
	Namespaced  = "CiliumEnvoyConfig"
	Clusterwide = "CiliumClusterwideEnvoyConfig"
)

// Of is the Object of a CiliumEnvoyConfig.
func Of(c *ciliumv2.CiliumEnvoyConfig) Object {
	name := model.Name{Namespace: c.Namespace, Name: c.Name}
	return Object{model.Ref{Kind: Namespaced, Name: name}, &c.ObjectMeta, &c.Spec}
}

// OfClusterwide is the Object of a CiliumClusterwideEnvoyConfig.
func OfClusterwide(c *ciliumv2.CiliumClusterwideEnvoyConfig) Object {
	return Object{model.Ref{Kind: Clusterwide, Name: model.Name{Name: c.Name}}, &c.ObjectMeta, &c.Spec}
}

// Generated tells of an object that the operator made: nobody else may write
// its label.
func (o Object) Generated() bool { return o.Meta.Labels[ciliumv2.LabelGeneratedFor] != "" }

// Part tells of an object that is part of another one.
func (o Object) Part() bool { return o.Generated() && o.Meta.Labels[ciliumv2.LabelPartOf] != "" }

// Created is when the object was made.
func (o Object) Created() time.Time { return o.Meta.CreationTimestamp.Time }

// Selects tells whether the object counts on a node with such labels. With a
// selector that cannot be read it counts on none.
func (o Object) Selects(node map[string]string) bool {
	if o.Spec.NodeSelector == nil {
		return true
	}
	s, err := metav1.LabelSelectorAsSelector(o.Spec.NodeSelector)
	return err == nil && s.Matches(labels.Set(node))
}

// World is what an object is judged by, beside itself.
type World struct {
	// Service gives a Service; nil: there is none.
	Service func(model.Name) *corev1.Service
	// Granted tells whether a ReferenceGrant lets CiliumEnvoyConfigs of a
	// namespace name a Service of another one.
	Granted func(from string, to model.Name) bool
	// Owns tells whether an address is one at which a Service of a namespace
	// answers, see AddressKeys.
	Owns func(namespace string, address netip.Addr) bool
	// AllowUnsafe lets clusterwide objects do anything (envoyConfig.allowUnsafe).
	AllowUnsafe bool
}

// AddressKeys are what World.Owns finds a Service by, see AddressKey: the
// addresses at which it answers within the cluster.
func AddressKeys(s *corev1.Service) (keys []string) {
	for _, text := range append([]string{s.Spec.ClusterIP}, s.Spec.ClusterIPs...) {
		if a, err := netip.ParseAddr(text); err == nil {
			keys = append(keys, AddressKey(s.Namespace, a))
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// AddressKey is that of an address of a namespace's Service.
func AddressKey(namespace string, a netip.Addr) string { return model.Join(namespace, a.String()) }

// author is who wrote o, which is not generated.
func (o Object) author(w World) allow.Author {
	switch {
	case o.Ref.Kind == Namespaced:
		return allow.Tenant
	case w.AllowUnsafe:
		return allow.Trusted
	}
	return allow.Administrator
}

// namespace is where Services are whose namespace is not said.
func (o Object) namespace() string {
	if o.Ref.Namespace == "" {
		return metav1.NamespaceDefault
	}
	return o.Ref.Namespace
}

// annotation reads one that is true or false.
func (o Object) annotation(name string) (value, set bool, err error) {
	text, set := o.Meta.Annotations[name]
	if !set {
		return false, false, nil
	}
	value, err = strconv.ParseBool(text)
	return value, true, err
}

// keepsSource tells whether backends see the client's address. What comes to
// a listener with an address of its own comes from anywhere: nobody answers
// such a client by way of this node.
func (o Object) keepsSource(redirected bool) bool {
	if v, set, err := o.annotation(ciliumv2.AnnotationUseOriginalSourceAddress); set && err == nil {
		return v
	}
	owned := slices.ContainsFunc(o.Meta.OwnerReferences, func(r metav1.OwnerReference) bool {
		return r.Kind == "Gateway" || r.Kind == "Ingress"
	})
	return redirected && !owned && !o.Generated()
}
