package agent

import (
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
// of this node alone, with one backend. The port's pod is known by its device,
// before its status says its address.
func (n *NodeGraph) hostPorts(g *flow.Graph) (*flow.Table[claim], *flow.Table[model.BackendSet]) {
	byPod := flow.NewIndex(n.in.Links, func(e model.PodEndpoint) []string { return []string{e.Pod.String()} })
	all := flow.Derive(g, "host ports", n.in.Pods, same[hostPort],
		func(r *flow.Reader, o model.Object[*corev1.Pod]) (out []hostPort) {
			pod := o.Value
			if !hasHostPorts(pod) || isOver(pod) {
				return nil
			}
			links := flow.Select(r, byPod, o.Key())
			if len(links) == 0 {
				return nil
			}
			e := linkOf(pod, links)
			self, _ := flow.Get(r, n.nodes, n.settings.Node)
			for _, c := range pod.Spec.Containers {
				for _, p := range c.Ports {
					for _, made := range hostPortsOf(e, pod, p, self.Addresses) {
						if !slices.ContainsFunc(out, func(other hostPort) bool { return other.Key() == made.Key() }) {
							out = append(out, made)
						}
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

func hasHostPorts(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.Containers, func(c corev1.Container) bool {
		return slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.HostPort != 0 })
	})
}

// hostPortsOf are those of one port of a container, one for each family that
// the pod has. A hostIP that is not the node's own is passed over: nobody
// checks it, and a pod could take what others send elsewhere.
func hostPortsOf(e model.PodEndpoint, pod *corev1.Pod, p corev1.ContainerPort, own []netip.Addr) (out []hostPort) {
	protocol, ok := map[corev1.Protocol]model.L4Protocol{"": model.TCP, corev1.ProtocolTCP: model.TCP, corev1.ProtocolUDP: model.UDP}[p.Protocol]
	if !ok || p.HostPort < 1 || p.HostPort > 65535 || p.ContainerPort < 1 || p.ContainerPort > 65535 {
		return nil
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
	return out
}

// isOver tells whether all of a pod's containers have ended for good.
func isOver(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}
