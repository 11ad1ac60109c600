package kube

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
)

// Raw reads whatever the API server has at a path, such as "/version", with
// parameters of the request.
func (c *Client) Raw(ctx context.Context, path string, parameters map[string]string) ([]byte, error) {
	request := c.groups[ciliumv2.GroupVersion].Get().AbsPath(path)
	for name, value := range parameters {
		request = request.Param(name, value)
	}
	text, err := request.Do(ctx).Raw()
	if apierrors.IsNotFound(err) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return text, nil
}
