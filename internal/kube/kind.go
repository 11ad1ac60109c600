package kube

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/api/cilium.io/v2alpha1"
	waggle "github.com/waggle-mesh/waggle/api/waggle.io/v1alpha1"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Object is a Kubernetes object.
type Object interface {
	runtime.Object
	metav1.Object
}

// Kind is what must be known of a kind to read and write its objects.
type Kind[T Object] struct {
	name     string
	group    schema.GroupVersion
	resource string
	new      func() T
	// keeps are the prefixes of the annotations that somebody reads.
	keeps []string
	// trim drops what nobody reads; nil: nothing.
	trim func(T)
}

// Name is the kind's, as manifests spell it.
func (k Kind[T]) Name() string { return k.name }

// Kinds of objects. What nodes and pods say of themselves is long, and most
// of it nobody reads.
var (
	Nodes = Kind[*corev1.Node]{
		name: "Node", group: corev1.SchemeGroupVersion, resource: "nodes",
		new:   func() *corev1.Node { return new(corev1.Node) },
		keeps: []string{"network.cilium.io/", "io.cilium.network."},
		trim: func(n *corev1.Node) {
			n.Status = corev1.NodeStatus{Addresses: n.Status.Addresses, Conditions: readiness(n.Status.Conditions)}
			n.Spec = corev1.NodeSpec{PodCIDR: n.Spec.PodCIDR, PodCIDRs: n.Spec.PodCIDRs, Unschedulable: n.Spec.Unschedulable}
		},
	}
	Pods = Kind[*corev1.Pod]{
		name: "Pod", group: corev1.SchemeGroupVersion, resource: "pods",
		new:   func() *corev1.Pod { return new(corev1.Pod) },
		keeps: []string{corev1.MirrorPodAnnotationKey},
		trim: func(p *corev1.Pod) {
			p.Status = corev1.PodStatus{Phase: p.Status.Phase, PodIPs: p.Status.PodIPs}
			p.Spec = corev1.PodSpec{
				NodeName: p.Spec.NodeName, HostNetwork: p.Spec.HostNetwork, ServiceAccountName: p.Spec.ServiceAccountName,
				Containers: containersOf(p.Spec),
			}
		},
	}
	Namespaces = Kind[*corev1.Namespace]{
		name: "Namespace", group: corev1.SchemeGroupVersion, resource: "namespaces",
		new: func() *corev1.Namespace { return new(corev1.Namespace) },
	}
	Services = Kind[*corev1.Service]{
		name: "Service", group: corev1.SchemeGroupVersion, resource: "services",
		new:   func() *corev1.Service { return new(corev1.Service) },
		keeps: []string{"service.cilium.io/", "service.kubernetes.io/topology-", "lbipam.cilium.io/", "io.cilium/"},
	}
	// OwnServices and OwnEndpointSlices are those that the operator writes,
	// whole; read by a label that they have.
	OwnServices = Kind[*corev1.Service]{
		name: "Service", group: corev1.SchemeGroupVersion, resource: "services",
		new:   func() *corev1.Service { return new(corev1.Service) },
		keeps: everything,
	}
	OwnEndpointSlices = Kind[*discoveryv1.EndpointSlice]{
		name: "EndpointSlice", group: discoveryv1.SchemeGroupVersion, resource: "endpointslices",
		new:   func() *discoveryv1.EndpointSlice { return new(discoveryv1.EndpointSlice) },
		keeps: everything,
	}
	EndpointSlices = Kind[*discoveryv1.EndpointSlice]{
		name: "EndpointSlice", group: discoveryv1.SchemeGroupVersion, resource: "endpointslices",
		new:   func() *discoveryv1.EndpointSlice { return new(discoveryv1.EndpointSlice) },
		keeps: []string{"service.cilium.io/"},
	}
	Identities = Kind[*ciliumv2.CiliumIdentity]{
		name: "CiliumIdentity", group: ciliumv2.GroupVersion, resource: "ciliumidentities",
		new:   func() *ciliumv2.CiliumIdentity { return new(ciliumv2.CiliumIdentity) },
		keeps: everything,
	}
	Endpoints = Kind[*ciliumv2.CiliumEndpoint]{
		name: "CiliumEndpoint", group: ciliumv2.GroupVersion, resource: "ciliumendpoints",
		new:   func() *ciliumv2.CiliumEndpoint { return new(ciliumv2.CiliumEndpoint) },
		keeps: everything,
	}
	// EndpointIdentities are CiliumEndpoints of which only the identity is
	// of use.
	EndpointIdentities = Kind[*ciliumv2.CiliumEndpoint]{
		name: "CiliumEndpoint", group: ciliumv2.GroupVersion, resource: "ciliumendpoints",
		new: func() *ciliumv2.CiliumEndpoint { return new(ciliumv2.CiliumEndpoint) },
		trim: func(e *ciliumv2.CiliumEndpoint) {
			if e.Status = (ciliumv2.EndpointStatus{Identity: e.Status.Identity}); e.Status.Identity != nil {
				e.Status.Identity.Labels = nil
			}
		},
	}
	EnvoyConfigs = Kind[*ciliumv2.CiliumEnvoyConfig]{
		name: "CiliumEnvoyConfig", group: ciliumv2.GroupVersion, resource: "ciliumenvoyconfigs",
		new:   func() *ciliumv2.CiliumEnvoyConfig { return new(ciliumv2.CiliumEnvoyConfig) },
		keeps: everything,
	}
	// ServedEnvoyConfigs are CiliumEnvoyConfigs of which only what is served is of
	// use: thousands of the operator's, on each node.
	ServedEnvoyConfigs = Kind[*ciliumv2.CiliumEnvoyConfig]{
		name: "CiliumEnvoyConfig", group: ciliumv2.GroupVersion, resource: "ciliumenvoyconfigs",
		new:   func() *ciliumv2.CiliumEnvoyConfig { return new(ciliumv2.CiliumEnvoyConfig) },
		keeps: everything,
		trim:  served,
	}
	EnvoyNodes = Kind[*waggle.EnvoyNode]{
		name: "EnvoyNode", group: waggle.GroupVersion, resource: "envoynodes",
		new:   func() *waggle.EnvoyNode { return new(waggle.EnvoyNode) },
		keeps: everything,
	}
	ClusterwideEnvoyConfigs = Kind[*ciliumv2.CiliumClusterwideEnvoyConfig]{
		name: "CiliumClusterwideEnvoyConfig", group: ciliumv2.GroupVersion, resource: "ciliumclusterwideenvoyconfigs",
		new:   func() *ciliumv2.CiliumClusterwideEnvoyConfig { return new(ciliumv2.CiliumClusterwideEnvoyConfig) },
		keeps: everything,
	}
)

// Pools are those of addresses for Services of type LoadBalancer.
var Pools = Kind[*ciliumv2.CiliumLoadBalancerIPPool]{
	name: "CiliumLoadBalancerIPPool", group: ciliumv2.GroupVersion, resource: "ciliumloadbalancerippools",
	new: func() *ciliumv2.CiliumLoadBalancerIPPool { return new(ciliumv2.CiliumLoadBalancerIPPool) },
}

// AnnouncementPolicy says which Services' addresses are announced.
type AnnouncementPolicy = *v2alpha1.CiliumL2AnnouncementPolicy

// AnnouncementPolicies say which Services' addresses are announced.
var AnnouncementPolicies = Kind[AnnouncementPolicy]{
	name: "CiliumL2AnnouncementPolicy", group: v2alpha1.GroupVersion, resource: "ciliuml2announcementpolicies",
	new:   func() AnnouncementPolicy { return new(v2alpha1.CiliumL2AnnouncementPolicy) },
	keeps: everything,
}

// served drops what is not. A decoder has made room for four of what there is one.
func served(c *ciliumv2.CiliumEnvoyConfig) {
	if c.Labels[ciliumv2.LabelGeneratedFor] != "" {
		c.OwnerReferences = nil // which say something of users' objects alone
	}
	c.Status = ciliumv2.CiliumEnvoyConfigStatus{}
	c.Spec.Resources = slices.Clone(c.Spec.Resources)
	c.Spec.BackendServices = slices.Clone(c.Spec.BackendServices)
	for i := range c.Spec.BackendServices {
		c.Spec.BackendServices[i].Ports = slices.Clone(c.Spec.BackendServices[i].Ports)
	}
}

// everything is kept of what is written back.
var everything = []string{""}

// readiness is whether a node is Ready, without when that was said.
func readiness(conditions []corev1.NodeCondition) []corev1.NodeCondition {
	for _, c := range conditions {
		if c.Type == corev1.NodeReady {
			return []corev1.NodeCondition{{Type: c.Type, Status: c.Status}}
		}
	}
	return nil
}

// containersOf are the pod's containers, with their ports alone; also those that
// begin first and stay (sidecars, KEP-753).
func containersOf(spec corev1.PodSpec) (out []corev1.Container) {
	for _, c := range spec.Containers {
		out = append(out, corev1.Container{Name: c.Name, Ports: c.Ports})
	}
	for _, c := range spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			out = append(out, corev1.Container{Name: c.Name, Ports: c.Ports})
		}
	}
	return out
}

// shorten drops from a fresh object what nobody reads.
func (k Kind[T]) shorten(o T) {
	o.SetManagedFields(nil) // an update without any leaves the API server's alone
	annotations := o.GetAnnotations()
	maps.DeleteFunc(annotations, func(name, _ string) bool {
		for _, prefix := range k.keeps {
			if strings.HasPrefix(name, prefix) {
				return false
			}
		}
		return true
	})
	if len(annotations) == 0 {
		annotations = nil
	}
	o.SetAnnotations(annotations)
	if k.trim != nil {
		k.trim(o)
	}
}

func nameOf(o metav1.Object) model.Name {
	return model.Name{Namespace: o.GetNamespace(), Name: o.GetName()}
}
