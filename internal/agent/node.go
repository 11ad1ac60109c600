package agent

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/service"
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
//
// Other nodes' pods are read from CiliumEndpoints, not from Pods: one event of
// 1 KB for each, which has the identity, in place of five of 5 KB that have not.
type NodeGraph struct {
	Frontends    *flow.Table[model.Frontend]
	BackendSets  *flow.Table[model.BackendSet]
	IPIdentities *flow.Table[model.IPIdentity]
	PodEndpoints *flow.Table[model.PodEndpoint]
	Verdicts     *flow.Table[model.Verdict]
	Routes       *flow.Table[model.NodeRoute]

	Requests        *flow.Table[IdentityRequest]
	EndpointObjects *flow.Table[EndpointObject]
	Annotations     *flow.Table[NodeAnnotations]
	Unsupported     *flow.Table[UnsupportedService]

	in       NodeInputs
	settings NodeSettings
	nodes    *flow.Table[node]
	labels   *flow.Table[podLabels]
	numbers  *flow.Table[number]
}

// NewNode adds the pipeline to g.
func NewNode(g *flow.Graph, in NodeInputs, settings NodeSettings) *NodeGraph {
	n := &NodeGraph{in: in, settings: settings}
	if in.Redirects == nil {
		n.in.Redirects = flow.NewTable(g, "redirects", same[model.ServiceRedirect])
		n.in.Live = flow.NewTable(g, "live listeners", equal[flow.KeyRow])
	}
	n.nodes = flow.Derive(g, "nodes", in.Nodes, same[node], n.node)
	n.services(g)
	n.identities(g)
	n.endpoints(g)
	n.ipIdentities(g)
	n.routes(g)
	n.Verdicts = flow.NewTable(g, "verdicts", flow.Equal[model.Verdict])
	return n
}

func same[T any](a, b T) bool { return reflect.DeepEqual(a, b) }

// claim is a frontend of one Service, that another may want too.
type claim struct {
	model.Frontend
	since int64 // when the Service was created
}

func (c claim) Key() string { return model.Join(c.Service.String(), c.Frontend.Key()) }

// UnsupportedService has fields that have no effect.
type UnsupportedService struct {
	Service model.Name
	UID     string
	Fields  []string // sentences that begin with the field
}

// Key is the Service's name.
func (u UnsupportedService) Key() string { return u.Service.String() }

// before orders claims of one address and port, what holds first: an address
// that the cluster gave before one that whoever writes Services may choose,
// else an external IP could take a ClusterIP that is yet to be given. Then the
// older has it.
func (c claim) before(other claim) int {
	switch {
	case c.chosen() != other.chosen():
		if c.chosen() {
			return 1
		}
		return -1
	case c.since != other.since:
		return int(max(-1, min(1, c.since-other.since)))
	}
	return strings.Compare(c.Key(), other.Key())
}

func (c claim) chosen() bool { return c.Kind == model.ExternalIP }

// redirect is the listener that gets the connections of a frontend. Envoy gets
// those of a Service with backends from when it can take them, so that nobody
// is refused meanwhile.
func (n *NodeGraph) redirect(r *flow.Reader, byService *flow.Index[model.ServiceRedirect], f model.Frontend) string {
	if f.Protocol != model.TCP {
		return ""
	}
	for _, row := range flow.Select(r, byService, f.Service.String()) {
		if len(row.Ports) > 0 && !slices.Contains(row.Ports, f.Port) {
			continue
		}
		if _, live := flow.Get(r, n.in.Live, row.Listener); live || row.Alone {
			return row.Listener
		}
	}
	return ""
}

// services makes frontends and sets.
func (n *NodeGraph) services(g *flow.Graph) {
	claims := flow.Derive(g, "frontend claims", n.in.Services, flow.Equal[claim],
		func(_ *flow.Reader, s model.Object[*corev1.Service]) (out []claim) {
			for _, f := range service.Frontends(s.Name, s.Value) {
				out = append(out, claim{f, s.Value.CreationTimestamp.Unix()})
			}
			return out
		})
	byAddress := flow.NewIndex(claims, func(c claim) []string { return []string{c.Frontend.Key()} })
	byService := flow.NewIndex(n.in.Redirects, func(r model.ServiceRedirect) []string { return []string{r.Service.String()} })
	n.Frontends = flow.Derive(g, "frontends", flow.Keys(g, "frontend addresses", byAddress), flow.Equal[model.Frontend],
		func(r *flow.Reader, k flow.KeyRow) []model.Frontend {
			f := slices.MinFunc(flow.Select(r, byAddress, k.Key()), claim.before).Frontend
			f.Redirect = n.redirect(r, byService, f)
			return []model.Frontend{f}
		})

	bySlice := flow.NewIndex(n.in.EndpointSlices, func(s model.Object[*discoveryv1.EndpointSlice]) []string {
		owner := model.Name{Namespace: s.Name.Namespace, Name: s.Value.Labels[discoveryv1.LabelServiceName]}
		return []string{owner.String()}
	})
	sets := flow.Derive(g, "sets", n.in.Services, same[service.SetOf],
		func(_ *flow.Reader, s model.Object[*corev1.Service]) []service.SetOf {
			return service.Sets(service.Frontends(s.Name, s.Value), s.Value)
		})
	n.BackendSets = flow.Derive(g, "backend sets", sets, same[model.BackendSet],
		func(r *flow.Reader, set service.SetOf) []model.BackendSet {
			var all []*discoveryv1.EndpointSlice
			for _, s := range flow.Select(r, bySlice, set.Service.String()) {
				all = append(all, s.Value)
			}
			return []model.BackendSet{service.Backends(set, n.settings.Node, all)}
		})
	n.Unsupported = flow.Derive(g, "unsupported fields", n.in.Services, same[UnsupportedService],
		func(_ *flow.Reader, s model.Object[*corev1.Service]) []UnsupportedService {
			if fields := service.Unsupported(s.Value); len(fields) > 0 {
				return []UnsupportedService{{s.Name, string(s.Value.UID), fields}}
			}
			return nil
		})
}
