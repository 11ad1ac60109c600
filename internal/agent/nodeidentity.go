package agent

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/identity"
	"github.com/waggle-mesh/waggle/internal/model"
)

// podLabels are the labels of a pod's identity.
type podLabels struct {
	Pod    model.Name
	Labels identity.Labels
	key    string // of Labels
	uids   []string
}

func (p podLabels) Key() string { return p.Pod.String() }

// entry is an identity that exists.
type entry struct {
	identity.Entry
	key string // of its labels
}

func (e entry) Key() string { return strconv.Itoa(int(e.Number)) }

// number is the identity of a set of labels.
type number struct {
	labels string
	Number model.Identity
}

func (n number) Key() string { return n.labels }

// IdentityRequest is a set of labels of a pod of this node for which there is
// no identity yet.
type IdentityRequest struct{ Labels identity.Labels }

// Key is that of the labels.
func (r IdentityRequest) Key() string { return r.Labels.Key() }

func (n *NodeGraph) identities(g *flow.Graph) {
	entries := flow.Derive(g, "identities", n.in.Identities, same[entry],
		func(_ *flow.Reader, o model.Object[*ciliumv2.CiliumIdentity]) []entry {
			id, ok := identity.Parse(o.Name.Name)
			if !ok {
				return nil
			}
			labels := identity.Labels(o.Value.SecurityLabels)
			return []entry{{identity.Entry{Number: id, Labels: labels, Created: o.Value.CreationTimestamp.Time}, labels.Key()}}
		})
	byLabels := flow.NewIndex(entries, func(e entry) []string { return []string{e.key} })
	n.numbers = flow.Derive(g, "numbers", flow.Keys(g, "sets of labels with identities", byLabels), flow.Equal[number],
		func(r *flow.Reader, k flow.KeyRow) []number {
			var all []identity.Entry
			for _, e := range flow.Select(r, byLabels, k.Key()) {
				all = append(all, e.Entry)
			}
			best, _ := identity.Holds(all)
			return []number{{k.Key(), best.Number}}
		})

	n.labels = flow.Derive(g, "pods' labels", n.in.Pods, same[podLabels],
		func(r *flow.Reader, o model.Object[*corev1.Pod]) []podLabels {
			p := o.Value
			namespace, known := flow.Get(r, n.in.Namespaces, o.Name.Namespace)
			if p.Spec.NodeName != n.settings.Node || p.Spec.HostNetwork || isOver(p) || !known {
				return nil
			}
			labels := identity.OfPod(p, namespace.Value, n.settings.Cluster)
			return []podLabels{{o.Name, labels, labels.Key(), uidsOf(p)}}
		})
	wanted := flow.NewIndex(n.labels, func(p podLabels) []string { return []string{p.key} })
	n.Requests = flow.Derive(g, "identity requests", flow.Keys(g, "sets of labels of pods", wanted), same[IdentityRequest],
		func(r *flow.Reader, k flow.KeyRow) []IdentityRequest {
			if _, have := flow.Get(r, n.numbers, k.Key()); have {
				return nil
			}
			pod, _ := flow.First(r, wanted, k.Key())
			return []IdentityRequest{{pod.Labels}}
		})
}

// EndpointObject is a CiliumEndpoint as it should be.
type EndpointObject struct {
	Name   model.Name // the pod's
	PodUID string
	Labels map[string]string // the pod's
	Status ciliumv2.EndpointStatus
}

// Key is the pod's name.
func (o EndpointObject) Key() string { return o.Name.String() }

func (n *NodeGraph) endpoints(g *flow.Graph) {
	n.PodEndpoints = flow.Derive(g, "pod endpoints", n.in.Links, same[model.PodEndpoint],
		func(r *flow.Reader, e model.PodEndpoint) []model.PodEndpoint {
			labels, _ := flow.Get(r, n.labels, e.Pod.String())
			if !slices.Contains(labels.uids, e.UID) {
				labels = podLabels{} // of another pod of its name
			}
			known, ok := flow.Get(r, n.numbers, labels.key)
			if e.Identity = known.Number; !ok {
				e.Identity = n.before(r, e)
			}
			return []model.PodEndpoint{e}
		})
	byPod := flow.NewIndex(n.PodEndpoints, func(e model.PodEndpoint) []string { return []string{e.Pod.String()} })
	n.EndpointObjects = flow.Derive(g, "endpoint objects", flow.Keys(g, "pods with links", byPod), same[EndpointObject],
		func(r *flow.Reader, k flow.KeyRow) []EndpointObject {
			pod, ok := flow.Get(r, n.in.Pods, k.Key())
			if !ok {
				return nil
			}
			e := linkOf(pod.Value, flow.Select(r, byPod, k.Key()))
			labels, _ := flow.Get(r, n.labels, k.Key())
			self, _ := flow.Get(r, n.nodes, n.settings.Node)
			return []EndpointObject{{pod.Name, string(pod.Value.UID), pod.Value.Labels, endpointStatus(e, pod.Value, labels.Labels, self)}}
		})
}

// before is the identity that this very pod has had, which its CiliumEndpoint
// remembers: a pod whose labels change keeps it until the new one is there, and
// policy never takes it for one that begins.
func (n *NodeGraph) before(r *flow.Reader, e model.PodEndpoint) model.Identity {
	uid := types.UID(e.UID)
	if pod, ok := flow.Get(r, n.in.Pods, e.Pod.String()); ok && slices.Contains(uidsOf(pod.Value), e.UID) {
		uid = pod.Value.UID
	}
	o, known := flow.Get(r, n.in.Endpoints, e.Pod.String())
	if known && uid != "" && slices.ContainsFunc(o.Value.OwnerReferences, func(of metav1.OwnerReference) bool { return of.UID == uid }) {
		if id, ok := identityOf(o.Value.Status); ok {
			return id
		}
	}
	return model.IdentityInit
}

// uidsOf are the UIDs by which the runtime may know a pod: none, its own, or
// that which the kubelet has given a static pod before it showed it to the API
// server.
func uidsOf(pod *corev1.Pod) []string {
	uids := []string{"", string(pod.UID)}
	if static := pod.Annotations[corev1.MirrorPodAnnotationKey]; static != "" {
		uids = append(uids, static)
	}
	return uids
}

// linkOf is the pod's link among those of its name: one that was replaced by
// another of its name has two for a moment.
func linkOf(pod *corev1.Pod, all []model.PodEndpoint) model.PodEndpoint {
	for _, e := range all {
		if e.UID != "" && slices.Contains(uidsOf(pod), e.UID) {
			return e
		}
	}
	for _, e := range all {
		if slices.ContainsFunc(pod.Status.PodIPs, func(ip corev1.PodIP) bool { return slices.Contains(texts(e.Addresses), ip.IP) }) {
			return e
		}
	}
	return all[0]
}

// endpointStatus is what a CiliumEndpoint says of a pod.
func endpointStatus(e model.PodEndpoint, pod *corev1.Pod, labels identity.Labels, self node) ciliumv2.EndpointStatus {
	direction := &ciliumv2.EndpointPolicyDirection{State: "<status disabled>"}
	out := ciliumv2.EndpointStatus{
		ID: int64(e.ID),
		ExternalIdentifiers: &ciliumv2.EndpointIdentifiers{
			ContainerID: e.Container, CNIAttachmentID: e.Container + ":" + e.PodDevice,
			K8sNamespace: e.Pod.Namespace, K8sPodName: e.Pod.Name, PodName: e.Pod.String(),
		},
		Networking: &ciliumv2.EndpointNetworking{Addressing: []ciliumv2.AddressPair{{}}, NodeIP: self.address()},
		Policy:     &ciliumv2.EndpointPolicy{Ingress: direction, Egress: direction},
		State:      "waiting-for-identity",
	}
	for _, a := range e.Addresses {
		if a.Is4() {
			out.Networking.Addressing[0].IPV4 = a.String()
		} else {
			out.Networking.Addressing[0].IPV6 = a.String()
		}
	}
	if e.Identity != model.IdentityInit {
		out.State = "ready"
		out.Identity = &ciliumv2.EndpointIdentity{ID: int64(e.Identity), Labels: labels.List()}
	}
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name != "" {
				out.NamedPorts = append(out.NamedPorts, ciliumv2.NamedPort{Name: p.Name, Port: uint16(p.ContainerPort), Protocol: string(p.Protocol)})
			}
		}
	}
	slices.SortFunc(out.NamedPorts, func(a, b ciliumv2.NamedPort) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func texts(addresses []netip.Addr) (out []string) {
	for _, a := range addresses {
		out = append(out, a.String())
	}
	return out
}
