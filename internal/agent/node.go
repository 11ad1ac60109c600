package agent

import (
	"net/netip"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/api/cilium.io/v2alpha1"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
)

// NodeInputs are the tables that the node's pipeline reads.
type NodeInputs struct {
	Nodes          *flow.Table[model.Object[*corev1.Node]]
	Pods           *flow.Table[model.Object[*corev1.Pod]] // of this node
	Namespaces     *flow.Table[model.Object[*corev1.Namespace]]
	Services       *flow.Table[model.Object[*corev1.Service]]
	EndpointSlices *flow.Table[model.Object[*discoveryv1.EndpointSlice]]
	Identities     *flow.Table[model.Object[*ciliumv2.CiliumIdentity]]
	Endpoints      *flow.Table[model.Object[*ciliumv2.CiliumEndpoint]]
	// Policies say which Services' addresses are announced.
	Policies *flow.Table[model.Object[*v2alpha1.CiliumL2AnnouncementPolicy]]
	// Links are the pods of this node as their devices present them, without
	// identities.
	Links *flow.Table[model.PodEndpoint]
	// Redirects lead ports of Services to Envoy, Live are the listeners that
	// Envoy has. Nil: nothing is led there.
	Redirects *flow.Table[model.ServiceRedirect]
	Live      *flow.Table[flow.KeyRow]
}

// NewNodeInputs makes the tables, empty.
func NewNodeInputs(g *flow.Graph) NodeInputs {
	return NodeInputs{
		Nodes:          objects[*corev1.Node](g, "Node"),
		Pods:           objects[*corev1.Pod](g, "Pod"),
		Namespaces:     objects[*corev1.Namespace](g, "Namespace"),
		Services:       objects[*corev1.Service](g, "Service"),
		EndpointSlices: objects[*discoveryv1.EndpointSlice](g, "EndpointSlice"),
		Identities:     objects[*ciliumv2.CiliumIdentity](g, "CiliumIdentity"),
		Endpoints:      objects[*ciliumv2.CiliumEndpoint](g, "CiliumEndpoint"),
		Policies:       objects[*v2alpha1.CiliumL2AnnouncementPolicy](g, "CiliumL2AnnouncementPolicy"),
		Links:          flow.NewTable(g, "links", same[model.PodEndpoint]),
	}
}

func objects[T any](g *flow.Graph, kind string) *flow.Table[model.Object[T]] {
	return flow.NewTable(g, kind, model.Object[T].Equal)
}

// NodeSettings say which node it is.
type NodeSettings struct {
	Node    string // its name
	Cluster string // the cluster's name, a part of every identity
	Uplink  string // the device that it announces from
	Families
	// Router and Ingress are the addresses that each node keeps for itself of
	// a PodCIDR: the pods' gateway, and where Envoy connects from.
	Router, Ingress func(podCIDR netip.Prefix) netip.Addr
}

// NodeGraph is the pipeline of a node's data path:
//
//	Services, EndpointSlices, Redirects ──▶ Frontends, BackendSets, Unsupported
//	Pods, Namespaces ─▶ labels ─┬─────────▶ Requests ─▶ CiliumIdentities ─┐
//	              identities ◀──┼─────────────────────────────────────────┘
//	Links ──────────────────────┴─────────▶ PodEndpoints ─▶ EndpointObjects
//	Nodes, CiliumEndpoints, PodEndpoints ─▶ IPIdentities
//	Nodes ────────────────────────────────▶ Routes, Annotations
//	Policies, Services, Nodes, Frontends ─▶ Announcements
//
// Other nodes' pods are read from CiliumEndpoints, not from Pods: one event of
// 1 KB for each, which has the identity, in place of five of 5 KB that have not.
type NodeGraph struct {
	Frontends    *flow.Table[model.Frontend]
	Led          *flow.Table[model.Frontend] // of Frontends those that lead to a listener
	BackendSets  *flow.Table[model.BackendSet]
	IPIdentities *flow.Table[model.IPIdentity]
	PodEndpoints *flow.Table[model.PodEndpoint]
	Verdicts     *flow.Table[model.Verdict]
	Routes       *flow.Table[model.NodeRoute]

	Requests        *flow.Table[IdentityRequest]
	EndpointObjects *flow.Table[EndpointObject]
	Annotations     *flow.Table[NodeAnnotations]
	Announcements   *flow.Table[model.Announcement]
	Unsupported     *flow.Table[Unsupported]

	in       NodeInputs
	settings NodeSettings
	nodes    *flow.Table[node]
	labels   *flow.Table[podLabels]
	numbers  *flow.Table[number]

	linksByPod *flow.Index[model.PodEndpoint]
}

// NewNode adds the pipeline to g.
func NewNode(g *flow.Graph, in NodeInputs, settings NodeSettings) *NodeGraph {
	n := &NodeGraph{in: in, settings: settings}
	if in.Redirects == nil {
		n.in.Redirects = flow.NewTable(g, "redirects", same[model.ServiceRedirect])
		n.in.Live = flow.NewTable(g, "live listeners", equal[flow.KeyRow])
	}
	n.linksByPod = flow.NewIndex(in.Links, func(e model.PodEndpoint) []string { return []string{e.Pod.String()} })
	n.nodes = flow.Derive(g, "nodes", in.Nodes, same[node], n.node)
	n.services(g)
	n.identities(g)
	n.endpoints(g)
	n.ipIdentities(g)
	n.routes(g)
	n.announcements(g)
	n.Verdicts = flow.NewTable(g, "verdicts", flow.Equal[model.Verdict])
	return n
}

func same[T any](a, b T) bool { return reflect.DeepEqual(a, b) }
