package survey

import (
	"context"
	"fmt"
	"time"

	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/model"
)

// ReadConfig is what agents, Envoys and operators are told: ConfigMap
// cilium-config.
func ReadConfig(ctx context.Context, c *kube.Client, namespace string) (map[string]string, error) {
	o, err := kube.Get(ctx, c, kube.ConfigMaps, model.Name{Namespace: namespace, Name: Config})
	if err != nil {
		return nil, err
	}
	return o.Data, nil
}

// WriteConfig sets values of ConfigMap cilium-config, and removes those that are
// nil; others are left as they are.
func WriteConfig(ctx context.Context, c *kube.Client, namespace string, values map[string]*string) error {
	return kube.Merge(ctx, c, kube.ConfigMaps, model.Name{Namespace: namespace, Name: Config}, map[string]any{"data": values})
}

// Restart has agents and operators begin again, a few at a time, as `kubectl
// rollout restart` does: they read the configuration when they begin.
func Restart(ctx context.Context, c *kube.Client, namespace string) error {
	at := map[string]string{"kubectl.kubernetes.io/restartedAt": time.Now().Format(time.RFC3339)}
	patch := map[string]any{"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{"annotations": at}}}}
	if err := kube.Merge(ctx, c, kube.DaemonSets, model.Name{Namespace: namespace, Name: Agents}, patch); err != nil {
		return fmt.Errorf("restart agents: %w", err)
	}
	if err := kube.Merge(ctx, c, kube.Deployments, model.Name{Namespace: namespace, Name: Operators}, patch); err != nil {
		return fmt.Errorf("restart operators: %w", err)
	}
	return nil
}
