package operator

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/gateway"
	"github.com/waggle-mesh/waggle/internal/gateway/field"
	"github.com/waggle-mesh/waggle/internal/model"
)

// HostNetwork has Gateways' listeners bound at the addresses of nodes, in place
// of being led to from a Service's, whose endpoints they are.
type HostNetwork struct {
	// Nodes are the labels of the nodes that serve; empty: all nodes do.
	Nodes map[string]string
}

// mostAddresses is how many the status of a Gateway may have.
const mostAddresses = 16

// NodeSelectorAnnotation is on the Services of Gateways that are served by some
// nodes: "name=value,name=value".
const NodeSelectorAnnotation = "service.cilium.io/node-selector"

// selector is that of CiliumEnvoyConfigs; nil: every node.
func (h *HostNetwork) selector() *metav1.LabelSelector {
	if h == nil || len(h.Nodes) == 0 {
		return nil
	}
	return &metav1.LabelSelector{MatchLabels: h.Nodes}
}

// hostNode is a node whose addresses Gateways may answer at.
type hostNode struct {
	name      string
	addresses []netip.Addr
	within    []netip.Addr // for those in the cluster; none while no Envoy serves there
}

func (n hostNode) Key() string { return n.name }

func (n hostNode) equal(other hostNode) bool {
	return slices.Equal(n.addresses, other.addresses) && slices.Equal(n.within, other.within)
}

// hostNodes finds the nodes whose addresses Gateways answer at: all, unless
// HostNetwork chooses some.
func (c *Cluster) hostNodes(g *flow.Graph) *flow.Index[hostNode] {
	serves := labels.Everything()
	if c.settings.HostNetwork != nil {
		serves = labels.SelectorFromSet(c.settings.HostNetwork.Nodes)
	}
	table := flow.Derive(g, "host nodes", c.in.Nodes, hostNode.equal, func(r *flow.Reader, node model.Object[*corev1.Node]) []hostNode {
		if !serves.Matches(labels.Set(node.Value.Labels)) {
			return nil
		}
		out := hostNode{name: node.Name.Name, addresses: nodeAddresses(node.Value, corev1.NodeExternalIP, corev1.NodeInternalIP)}
		if _, envoy := flow.Get(r, c.in.EnvoyNodes, node.Name.Name); envoy && isReady(node.Value) {
			out.within = nodeAddresses(node.Value, corev1.NodeInternalIP, corev1.NodeExternalIP)
		}
		return []hostNode{out}
	})
	return flow.NewIndex(table, func(hostNode) []string { return []string{anyKey} })
}

// nodeAddresses are a node's of some types: the first of each family.
func nodeAddresses(node *corev1.Node, kinds ...corev1.NodeAddressType) (out []netip.Addr) {
	for _, kind := range kinds {
		for _, given := range node.Status.Addresses {
			a, err := netip.ParseAddr(given.Address)
			if given.Type != kind || err != nil {
				continue
			}
			a = a.Unmap()
			if !slices.ContainsFunc(out, func(had netip.Addr) bool { return had.Is4() == a.Is4() }) {
				out = append(out, a)
			}
		}
	}
	return out
}

// hostAddresses are those that a Gateway answers at, sorted.
func (c *Cluster) hostAddresses(r *flow.Reader) (all []netip.Addr) {
	for _, n := range flow.Select(r, c.hosts, anyKey) {
		all = append(all, n.addresses...)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}

// binding are the addresses that listeners are bound to: any of the families
// that nodes have.
func (c *Cluster) binding(r *flow.Reader) (out []netip.Addr) {
	if c.settings.HostNetwork == nil {
		return nil
	}
	for _, a := range c.hostAddresses(r) {
		unspecified := netip.IPv6Unspecified()
		if a.Is4() {
			unspecified = netip.IPv4Unspecified()
		}
		if !slices.Contains(out, unspecified) {
			out = append(out, unspecified)
		}
	}
	return out
}

// hostAddress is where a Gateway answers.
func (c *Cluster) hostAddress(r *flow.Reader, gw model.Object[*gatewayv1.Gateway], foreign gateway.Problem) Address {
	all := c.hostAddresses(r)
	out := Address{Gateway: gw.Name, Problem: foreign, Addresses: all[:min(len(all), mostAddresses)]}
	if out.Problem.OK() {
		out.Problem = refused(wantedAddresses(gw.Value), all, "Gateways answer at the addresses of nodes (gatewayAPI.hostNetwork)")
	}
	if out.Problem.OK() && len(all) == 0 {
		out.Problem = field.New(gatewayv1.GatewayReasonAddressNotAssigned,
			"no node has the labels of gatewayAPI.hostNetwork.nodes.matchLabels: %s", labels.FormatLabels(c.settings.HostNetwork.Nodes))
	}
	return out
}

// annotate adds what the Service of a Gateway has besides.
func (h *HostNetwork) annotate(annotations map[string]string) {
	if h == nil || len(h.Nodes) == 0 {
		return
	}
	annotations[NodeSelectorAnnotation] = strings.ReplaceAll(labels.FormatLabels(h.Nodes), " ", "")
}
