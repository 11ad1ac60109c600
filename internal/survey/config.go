package survey

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

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
	return errors.Join(restart(ctx, c, kube.DaemonSets, namespace, Agents), restart(ctx, c, kube.Deployments, namespace, Operators))
}

func restart[T kube.Object](ctx context.Context, c *kube.Client, kind kube.Kind[T], namespace, name string) error {
	at := map[string]string{"kubectl.kubernetes.io/restartedAt": time.Now().Format(time.RFC3339)}
	patch := map[string]any{"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{"annotations": at}}}}
	if err := kube.Merge(ctx, c, kind, model.Name{Namespace: namespace, Name: name}, patch); err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	return nil
}

// Reading is what agents and operators run by: what they have read, and the
// templates of their pods.
type Reading struct {
	config            map[string]string // nil: there is none
	agents, operators corev1.PodTemplateSpec
}

// ReadingOf finds what agents and operators run by, if all have begun since it was
// changed. Of what is not installed the Reading is empty.
func ReadingOf(ctx context.Context, c *kube.Client, namespace string) (r Reading, err error) {
	none := func(err error) bool { return errors.Is(err, kube.ErrNotFound) }
	if r.config, err = ReadConfig(ctx, c, namespace); err != nil && !none(err) {
		return Reading{}, err
	}
	agents, err := kube.Get(ctx, c, kube.DaemonSets, model.Name{Namespace: namespace, Name: Agents})
	if err == nil {
		r.agents = agents.Spec.Template
	} else if !none(err) {
		return Reading{}, err
	}
	operators, err := kube.Get(ctx, c, kube.Deployments, model.Name{Namespace: namespace, Name: Operators})
	if err == nil {
		r.operators = operators.Spec.Template
	} else if !none(err) {
		return Reading{}, err
	}
	return r, nil
}

// RestartOutdated has those begin again that run by an earlier configuration than
// is there now, and whose pods nothing else replaces. It names them.
func RestartOutdated(ctx context.Context, c *kube.Client, namespace string, before Reading) (restarted []string, err error) {
	now, err := ReadingOf(ctx, c, namespace)
	if err != nil || before.config == nil || maps.Equal(before.config, now.config) {
		return nil, err
	}
	if equality.Semantic.DeepEqual(before.agents, now.agents) {
		if err := restart(ctx, c, kube.DaemonSets, namespace, Agents); err != nil {
			return restarted, err
		}
		restarted = append(restarted, Agents)
	}
	if equality.Semantic.DeepEqual(before.operators, now.operators) {
		if err := restart(ctx, c, kube.Deployments, namespace, Operators); err != nil {
			return restarted, err
		}
		restarted = append(restarted, Operators)
	}
	return restarted, nil
}
