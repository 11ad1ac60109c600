package agent

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
)

// hostPort is a port of the node that leads to a pod, and the set of that pod.
type hostPort struct {
	claim
	set model.BackendSet
}

// hostPorts make the hostPorts of this node's pods answer: they are NodePorts
// of this node alone, with one backend.
func (n *NodeGraph) hostPorts(g *flow.Graph) (*flow.Table[claim], *flow.Table[model.BackendSet]) {
	all := flow.Derive(g, "host ports", n.in.Pods, same[hostPort],
		func(r *flow.Reader, o model.Object[*corev1.Pod]) (out []hostPort) {
			for _, p := range n.hostPortsIn(r, o) {
				for _, made := range p.made {
					if !slices.ContainsFunc(out, func(other hostPort) bool { return other.Key() == made.Key() }) {
						out = append(out, made)
					}
				}
			}
			return out
		})
	claims := flow.Derive(g, "host ports' claims", all, flow.Equal[claim],
		func(_ *flow.Reader, p hostPort) []claim { return []claim{p.claim} })
	sets := flow.Derive(g, "host ports' sets", all, same[model.BackendSet],
		func(_ *flow.Reader, p hostPort) []model.BackendSet { return []model.BackendSet{p.set} })
	return claims, sets
}

// declared is a hostPort as a pod has it.
type declared struct {
	field   string     // where it is in the pod
	made    []hostPort // one for each family
	problem string     // why none was made
}

// hostPortsIn are those of a pod, once its device is there: that says the pod's
// address before its status does.
func (n *NodeGraph) hostPortsIn(r *flow.Reader, o model.Object[*corev1.Pod]) (out []declared) {
	if !hasHostPorts(o.Value) || isOver(o.Value) {
		return nil
	}
	links := flow.Select(r, n.linksByPod, o.Key())
	if len(links) == 0 {
		return nil
	}
	e := linkOf(o.Value, links)
	self, _ := flow.Get(r, n.nodes, n.settings.Node)
	say := func(field string, of []corev1.Container) {
		for i, c := range of {
			if field == "initContainers" && !isSidecar(c) {
				continue
			}
			for j, p := range c.Ports {
				made, problem := hostPortsOf(e, o.Value, p, self.Addresses)
				out = append(out, declared{fmt.Sprintf("spec.%s[%d].ports[%d].hostPort", field, i, j), made, problem})
			}
		}
	}
	say("containers", o.Value.Spec.Containers)
	say("initContainers", o.Value.Spec.InitContainers)
	return out
}

// isSidecar tells whether an init container runs beside the others.
func isSidecar(c corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// unsupportedPods are pods of this node with hostPorts that do not answer.
func (n *NodeGraph) unsupportedPods(g *flow.Graph, byAddress *flow.Index[claim]) *flow.Table[Unsupported] {
	return flow.Derive(g, "unsupported fields of pods", n.in.Pods, same[Unsupported],
		func(r *flow.Reader, o model.Object[*corev1.Pod]) []Unsupported {
			var fields []string
			for _, p := range n.hostPortsIn(r, o) {
				for _, made := range p.made {
					if by, covered := n.covered(r, byAddress, made.Frontend); covered {
						p.problem = fmt.Sprintf("%s has port %d of every address of the node", by.Service, made.Port)
					}
				}
				if p.problem != "" {
					fields = append(fields, p.field+": "+p.problem)
				}
			}
			if len(fields) == 0 {
				return nil
			}
			return []Unsupported{{model.Ref{Kind: "Pod", Name: o.Name}, string(o.Value.UID), fields}}
		})
}

func hasHostPorts(pod *corev1.Pod) bool {
	has := func(c corev1.Container) bool {
		return slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.HostPort != 0 })
	}
	return slices.ContainsFunc(pod.Spec.Containers, has) || slices.ContainsFunc(pod.Spec.InitContainers, has)
}

// hostPortsOf are those of one port of a container, one for each family that
// the pod has; if there are none, the problem tells why, unless no hostPort is
// meant. A hostIP that is not the node's own is passed over: nobody checks it,
// and a pod could take what others send elsewhere.
func hostPortsOf(e model.PodEndpoint, pod *corev1.Pod, p corev1.ContainerPort, own []netip.Addr) (out []hostPort, problem string) {
	protocol, ok := map[corev1.Protocol]model.L4Protocol{"": model.TCP, corev1.ProtocolTCP: model.TCP, corev1.ProtocolUDP: model.UDP}[p.Protocol]
	if p.HostPort < 1 || p.HostPort > 65535 || p.ContainerPort < 1 || p.ContainerPort > 65535 {
		return nil, ""
	}
	if !ok {
		return nil, fmt.Sprintf("the protocol %s is not supported, TCP and UDP are", p.Protocol)
	}
	for _, a := range e.Addresses {
		// The slash tells it from a Service of the pod's name.
		name := model.Name{Namespace: e.Pod.Namespace, Name: "pod/" + e.Pod.Name}
		at := netip.IPv4Unspecified()
		if a.Is6() {
			at = netip.IPv6Unspecified()
		}
		if p.HostIP != "" {
			ip, err := netip.ParseAddr(p.HostIP)
			ip = ip.Unmap()
			if err != nil || !ip.IsUnspecified() && (ip.Is4() != a.Is4() || !ip.IsLoopback() && !slices.Contains(own, ip)) {
				continue
			}
			if !ip.IsUnspecified() {
				at, name.Name = ip, name.Name+"@"+ip.String()
			}
		}
		set := model.BackendSet{
			Service: name, Port: uint16(p.HostPort), Protocol: protocol,
			Family: model.FamilyOf(a), Local: true, Backends: []netip.AddrPort{netip.AddrPortFrom(a, uint16(p.ContainerPort))},
		}
		out = append(out, hostPort{claim{model.Frontend{
			Address: netip.AddrPortFrom(at, uint16(p.HostPort)), Protocol: protocol, Kind: model.HostPort, Service: set.Service, Port: set.Port,
			Internal: set.Key(), External: set.Key(), KeepSource: true,
		}, pod.CreationTimestamp.Unix()}, set})
	}
	if len(out) == 0 {
		problem = fmt.Sprintf("the hostIP %s is no address of the node, of a family that the pod has", p.HostIP)
	}
	return out, problem
}

// isOver tells whether all of a pod's containers have ended for good.
func isOver(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}
