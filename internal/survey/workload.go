// Package survey reads from the API server how Waggle does in a cluster: its
// workloads, its configuration, Gateways and what became of them, and the
// objects that nobody serves.
//
// It believes what the objects' statuses say, asks no agent, and changes
// nothing. What it may not read it says so of, and goes on with the rest.
package survey

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Names of Waggle's own objects, which are Cilium's.
const (
	Agents    = "cilium"
	Envoys    = "cilium-envoy"
	Operators = "cilium-operator"
	Config    = "cilium-config"
)

// AgentContainer is the container of an agent's pod that the agent is in.
const AgentContainer = "cilium-agent"

// AgentOn finds the pod of a node's agent.
func AgentOn(ctx context.Context, c *kube.Client, namespace, node string) (model.Name, error) {
	pods, err := kube.List(ctx, c, kube.Pods, namespace, metav1.ListOptions{LabelSelector: "k8s-app=" + Agents, FieldSelector: "spec.nodeName=" + node})
	if err != nil {
		return model.Name{}, err
	}
	for _, p := range pods {
		if p.Status.Phase == corev1.PodRunning {
			return model.Name{Namespace: p.Namespace, Name: p.Name}, nil
		}
	}
	return model.Name{}, fmt.Errorf("no agent runs on node %s in namespace %s", node, namespace)
}

// Workload is how a DaemonSet or a Deployment does.
type Workload struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	// Desired pods, those of the newest template, and those that are ready
	// and available.
	Desired   int32  `json:"desired"`
	Updated   int32  `json:"updated"`
	Ready     int32  `json:"ready"`
	Available int32  `json:"available"`
	Image     string `json:"image"` // of its first container
	// Ours: it is Waggle's, and not Cilium's of the same name.
	Ours    bool   `json:"ours"`
	seen    bool   // its controller has seen the newest template
	command string // of its first container
	chart   string // that it is of
}

// Complete tells whether all pods are of the newest template and available.
func (w Workload) Complete() bool {
	return w.seen && w.Updated == w.Desired && w.Available == w.Desired && w.Ready == w.Desired
}

// troubles say why it is not complete.
func (w Workload) troubles() (out []string) {
	if !w.Ours {
		return []string{fmt.Sprintf("%s %s is not Waggle's: it runs %q of image %s", w.Kind, w.Name, w.command, w.Image)}
	}
	if w.Desired == 0 {
		out = append(out, fmt.Sprintf("%s %s has no pods", w.Kind, w.Name))
	}
	if missing := w.Desired - w.Ready; missing > 0 {
		out = append(out, fmt.Sprintf("%s %s: %d of %d pods are not ready", w.Kind, w.Name, missing, w.Desired))
	}
	if !w.seen || w.Updated < w.Desired {
		out = append(out, fmt.Sprintf("%s %s is being updated: %d of %d pods", w.Kind, w.Name, w.Updated, w.Desired))
	}
	return out
}

// String is a line of progress.
func (w Workload) String() string {
	return fmt.Sprintf("%s %s: %d of %d updated, %d ready", w.Kind, w.Name, w.Updated, w.Desired, w.Ready)
}

// Workloads are Waggle's in a namespace, those that there are: agents, Envoys,
// operators.
func Workloads(ctx context.Context, c *kube.Client, namespace string) (all []Workload, err error) {
	for _, name := range []string{Agents, Envoys} {
		o, err := kube.Get(ctx, c, kube.DaemonSets, model.Name{Namespace: namespace, Name: name})
		if errors.Is(err, kube.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, daemonSet(o))
	}
	o, err := kube.Get(ctx, c, kube.Deployments, model.Name{Namespace: namespace, Name: Operators})
	if errors.Is(err, kube.ErrNotFound) {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	return append(all, deployment(o)), nil
}

func daemonSet(o *appsv1.DaemonSet) Workload {
	s := o.Status
	w := Workload{
		Kind: "DaemonSet", Name: o.Name,
		Desired: s.DesiredNumberScheduled, Updated: s.UpdatedNumberScheduled, Ready: s.NumberReady, Available: s.NumberAvailable,
		seen: s.ObservedGeneration >= o.Generation,
	}
	return w.with(o.Labels, o.Spec.Template.Spec)
}

func deployment(o *appsv1.Deployment) Workload {
	s := o.Status
	w := Workload{
		Kind: "Deployment", Name: o.Name,
		Desired: 1, Updated: s.UpdatedReplicas, Ready: s.ReadyReplicas, Available: s.AvailableReplicas,
		seen: s.ObservedGeneration >= o.Generation && s.Replicas == s.UpdatedReplicas,
	}
	if o.Spec.Replicas != nil {
		w.Desired = *o.Spec.Replicas
	}
	return w.with(o.Labels, o.Spec.Template.Spec)
}

func (w Workload) with(labels map[string]string, pod corev1.PodSpec) Workload {
	w.chart = labels["helm.sh/chart"]
	if len(pod.Containers) == 0 {
		return w
	}
	first := pod.Containers[0]
	w.Image = first.Image
	if len(first.Command) > 0 {
		w.command = first.Command[0]
	}
	w.Ours = strings.HasSuffix("/"+w.command, "/waggle")
	return w
}

// APIServers are where the cluster's API servers are to be reached without
// Services.
func APIServers(ctx context.Context, c *kube.Client) (found []netip.AddrPort, err error) {
	slices, err := kube.List(ctx, c, kube.EndpointSlices, "default", metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=kubernetes"})
	if err != nil {
		return nil, err
	}
	for _, s := range slices {
		if len(s.Ports) != 1 || s.Ports[0].Port == nil {
			continue
		}
		for _, e := range s.Endpoints {
			if addr, err := netip.ParseAddr(append(e.Addresses, "")[0]); err == nil {
				found = append(found, netip.AddrPortFrom(addr, uint16(*s.Ports[0].Port)))
			}
		}
	}
	return found, nil
}

// IsSingleNode tells whether the cluster has one node.
func IsSingleNode(ctx context.Context, c *kube.Client) (bool, error) {
	nodes, err := kube.List(ctx, c, kube.Nodes, "", metav1.ListOptions{Limit: 2})
	return len(nodes) == 1, err
}
