package survey

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waggle-mesh/waggle/internal/kube"
)

// RefuseCilium is an error where Cilium itself runs in the cluster, in whatever
// namespace: its objects have the names of Waggle's, its GatewayClasses the
// controller, and a node has room for the agent of one.
func RefuseCilium(ctx context.Context, c *kube.Client) error {
	all, err := kube.List(ctx, c, kube.DaemonSets, "", metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("see whether Cilium runs: %w", err)
	}
	if theirs := findCilium(all); theirs != nil {
		return ciliumError(theirs)
	}
	return nil
}

// findCilium finds Cilium's agents, under the name or the label that all of its
// distributions keep one of. Whoever may not use the nodes' network cannot pass
// for them.
func findCilium(all []*appsv1.DaemonSet) *appsv1.DaemonSet {
	for _, o := range all {
		named := o.Name == Agents || o.Labels["k8s-app"] == Agents
		if named && o.Spec.Template.Spec.HostNetwork && !daemonSet(o).Ours {
			return o
		}
	}
	return nil
}

func ciliumError(o *appsv1.DaemonSet) error {
	w := daemonSet(o)
	return fmt.Errorf("this cluster runs Cilium: DaemonSet %s/%s runs %q of image %s; uninstall it first", o.Namespace, o.Name, w.command, w.Image)
}
