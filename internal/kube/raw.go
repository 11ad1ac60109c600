package kube

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
)

// Raw reads whatever the API server has at a path, such as "/version", with
// parameters of the request.
func (c *Client) Raw(ctx context.Context, path string, parameters map[string]string) ([]byte, error) {
	request := c.groups[ciliumv2.GroupVersion].Get().AbsPath(path)
	for name, value := range parameters {
		request = request.Param(name, value)
	}
	return raw(ctx, path, request)
}

// Metadata reads the metadata of the objects that the API server has at a path,
// a list's. It sends nothing else of them.
func (c *Client) Metadata(ctx context.Context, path string) ([]byte, error) {
	request := c.groups[ciliumv2.GroupVersion].Get().AbsPath(path)
	return raw(ctx, path, request.SetHeader("Accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"))
}

func raw(ctx context.Context, path string, request *rest.Request) ([]byte, error) {
	text, err := request.Do(ctx).Raw()
	if apierrors.IsNotFound(err) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return text, nil
}
