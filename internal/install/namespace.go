package install

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/model"
)

// DeleteNamespaces deletes the namespaces that a release had for copies of
// Secrets and that Helm has kept, when the copies are gone, and waits for their
// end. One with Secrets in it stays, which left is told with their number: they
// are users'.
func DeleteNamespaces(ctx context.Context, c *kube.Client, release, namespace string, left func(name string, secrets int)) error {
	all, err := kube.List(ctx, c, kube.Namespaces, "", metav1.ListOptions{LabelSelector: "app.kubernetes.io/part-of=cilium"})
	if err != nil {
		return err
	}
	for _, o := range all {
		if !isKept(o, release, namespace) {
			continue
		}
		// Tokens of service accounts were once Secrets, which nobody made.
		secrets, err := kube.List(ctx, c, kube.Secrets, o.Name, metav1.ListOptions{FieldSelector: "type!=" + string(corev1.SecretTypeServiceAccountToken)})
		if err != nil {
			return err
		}
		if len(secrets) > 0 {
			left(o.Name, len(secrets))
			continue
		}
		if err := deleteNamespace(ctx, c, o); err != nil {
			return fmt.Errorf("delete namespace %s: %w", o.Name, err)
		}
	}
	return nil
}

// isKept tells of a namespace whether it is the release's and Helm was told to
// keep it.
func isKept(o *corev1.Namespace, release, namespace string) bool {
	a := o.Annotations
	return a["helm.sh/resource-policy"] == "keep" && a["meta.helm.sh/release-name"] == release && a["meta.helm.sh/release-namespace"] == namespace
}

func deleteNamespace(ctx context.Context, c *kube.Client, o *corev1.Namespace) error {
	name := model.Name{Name: o.Name}
	if err := kube.Delete(ctx, c, kube.Namespaces, name, o.UID); err != nil {
		return err
	}
	return poll(ctx, func() (bool, error) {
		_, err := kube.Get(ctx, c, kube.Namespaces, name)
		if errors.Is(err, kube.ErrNotFound) {
			return true, nil
		}
		return false, err
	})
}
