package kube

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	"github.com/waggle-mesh/waggle/internal/model"
)

// PatchStatus changes fields of an object's status and leaves the others, if
// the object still is the one with that UID. Lists that have merge keys, such
// as the conditions of Kubernetes' own kinds, are merged; those of custom
// resources are replaced.
func PatchStatus[T Object](ctx context.Context, c *Client, k Kind[T], name model.Name, uid types.UID, status any) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": uid}, "status": status})
	if err != nil {
		return fmt.Errorf("patch status of %s %s: %w", k.name, name, err)
	}
	kind := types.StrategicMergePatchType
	for _, group := range groups {
		if group.version == k.group && group.custom {
			kind = types.MergePatchType // custom resources know no other
		}
	}
	return k.judge("patch status of", name, k.request(c.groups[k.group].Patch(kind), name).SubResource("status").Body(patch).Do(ctx).Error())
}
