package daemon

import (
	"context"
	"errors"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/operator"
)

// Forget deletes what operators have made, when none runs any more: objects of
// Gateways, copies of Secrets, identities, the Lease in namespace. Statuses of
// users' objects stay as they are.
func Forget(ctx context.Context, c *kube.Client, namespace string) error {
	return errors.Join(
		kube.DeleteAll(ctx, c, kube.OwnServices, "", ownService),
		kube.DeleteAll(ctx, c, kube.OwnEndpointSlices, "", ownSlice),
		kube.DeleteAll(ctx, c, kube.EnvoyConfigs, "", ownConfig),
		kube.DeleteAll(ctx, c, kube.OwnSecrets, operator.SecretNamespaceLabel, ownSecret),
		kube.DeleteAll(ctx, c, kube.Identities, "", func(*ciliumv2.CiliumIdentity) bool { return true }),
		kube.Delete(ctx, c, kube.Leases, model.Name{Namespace: namespace, Name: leaseName}, ""),
	)
}
