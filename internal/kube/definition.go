package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
)

// Definition names a CustomResourceDefinition and a version that it serves.
type Definition struct{ Plural, Group, Version string }

// Name is the definition's own.
func (d Definition) Name() string { return d.Plural + "." + d.Group }

// Count is how many objects there are of a definition's kind; 0 if there is no
// such kind.
func (c *Client) Count(ctx context.Context, d Definition) (int, error) {
	text, err := c.Metadata(ctx, path.Join("/apis", d.Group, d.Version, d.Plural))
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	var list metav1.PartialObjectMetadataList
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil {
		return 0, fmt.Errorf("count %s: %w", d.Name(), err)
	}
	return len(list.Items), nil
}

// DeleteDefinition deletes a definition, and with it all objects of its kind.
// That it is not there is no error.
func (c *Client) DeleteDefinition(ctx context.Context, d Definition) error {
	err := c.groups[ciliumv2.GroupVersion].Delete().AbsPath("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", d.Name()).Do(ctx).Error()
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete definition %s: %w", d.Name(), err)
	}
	return nil
}
