package daemon

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	waggle "github.com/waggle-mesh/waggle/api/waggle.io/v1alpha1"
	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/agent/announcer"
	"github.com/waggle-mesh/waggle/internal/kube"
)

// Forget deletes what agents have written to the API server, when none runs any
// more: all CiliumEndpoints and EnvoyNodes, the Leases of announcements, and
// annotations of Nodes.
func Forget(ctx context.Context, c *kube.Client) error {
	errs := []error{
		kube.DeleteAll(ctx, c, kube.Endpoints, "", func(*ciliumv2.CiliumEndpoint) bool { return true }),
		kube.DeleteAll(ctx, c, kube.EnvoyNodes, "", func(*waggle.EnvoyNode) bool { return true }),
		kube.DeleteAll(ctx, c, kube.Leases, "", announcer.IsLease),
	}
	nodes, err := kube.List(ctx, c, kube.Nodes, "", metav1.ListOptions{})
	errs = append(errs, err)
	for _, n := range nodes {
		errs = append(errs, forgetNode(ctx, c, n))
	}
	return errors.Join(errs...)
}

// forgetNode takes the agents' annotations off a node's object.
func forgetNode(ctx context.Context, c *kube.Client, n *corev1.Node) error {
	annotated := agent.Annotated(n)
	if len(annotated) == 0 {
		return nil
	}
	return kube.AnnotateNode(ctx, c, n.Name, annotated)
}
