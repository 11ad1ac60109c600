package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/waggle-mesh/waggle/internal/model"
)

// What the API server may say to a request; errors.Is tells.
var (
	ErrExists   = errors.New("exists already")
	ErrNotFound = errors.New("not found")
	ErrConflict = errors.New("has changed meanwhile")
)

// request names the object of a request.
func (k Kind[T]) request(r *rest.Request, name model.Name) *rest.Request {
	r = r.Resource(k.resource).NamespaceIfScoped(name.Namespace, name.Namespace != "")
	if name.Name != "" {
		r = r.Name(name.Name)
	}
	return r
}

// judge gives an error that says what was being done to what.
func (k Kind[T]) judge(verb string, name model.Name, err error) error {
	if err == nil {
		return nil
	}
	switch {
	case apierrors.IsAlreadyExists(err):
		err = ErrExists
	case apierrors.IsNotFound(err):
		err = ErrNotFound
	case apierrors.IsConflict(err):
		err = ErrConflict
	}
	return fmt.Errorf("%s %s %s: %w", verb, k.name, name, err)
}

// Get reads an object, whole.
func Get[T Object](ctx context.Context, c *Client, k Kind[T], name model.Name) (T, error) {
	out := k.new()
	err := k.request(c.groups[k.group].Get(), name).Do(ctx).Into(out)
	return out, k.judge("get", name, err)
}

// List reads all objects of a kind, whole; of namespace, unless it is empty.
func List[T Object](ctx context.Context, c *Client, k Kind[T], namespace string, o metav1.ListOptions) ([]T, error) {
	name := model.Name{Namespace: namespace}
	list, err := k.request(c.groups[k.group].Get(), name).VersionedParams(&o, metav1.ParameterCodec).Do(ctx).Get()
	if err != nil {
		return nil, k.judge("list", name, err)
	}
	var all []T
	err = meta.EachListItem(list, func(o runtime.Object) error {
		all = append(all, o.(T))
		return nil
	})
	return all, k.judge("list", name, err)
}

// Create makes an object.
func Create[T Object](ctx context.Context, c *Client, k Kind[T], o T) (T, error) {
	out, name := k.new(), nameOf(o)
	err := k.request(c.groups[k.group].Post(), model.Name{Namespace: name.Namespace}).Body(o).Do(ctx).Into(out)
	return out, k.judge("create", name, err)
}

// tryCreate asks the API server whether it would make an object. As one of that
// name may be there, it is asked about another name.
func tryCreate[T Object](ctx context.Context, c *Client, k Kind[T], o T) error {
	name, o := nameOf(o), o.DeepCopyObject().(T)
	o.SetGenerateName(name.Name + "-")
	o.SetName("")
	dry := &metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	err := k.request(c.groups[k.group].Post(), model.Name{Namespace: name.Namespace}).
		VersionedParams(dry, metav1.ParameterCodec).Body(o).Do(ctx).Error()
	return k.judge("make anew", name, err)
}

// Update replaces an object, if it still has the version that o has.
func Update[T Object](ctx context.Context, c *Client, k Kind[T], o T) (T, error) {
	out, name := k.new(), nameOf(o)
	err := k.request(c.groups[k.group].Put(), name).Body(o).Do(ctx).Into(out)
	return out, k.judge("update", name, err)
}

// UpdateStatus replaces the status of an object and nothing else of it, if it
// still has the version that o has.
func UpdateStatus[T Object](ctx context.Context, c *Client, k Kind[T], o T) (T, error) {
	out, name := k.new(), nameOf(o)
	err := k.request(c.groups[k.group].Put(), name).SubResource("status").Body(o).Do(ctx).Into(out)
	return out, k.judge("update status of", name, err)
}

// Delete deletes an object, if it still is the one with that UID. That it is
// not there is no error.
func Delete[T Object](ctx context.Context, c *Client, k Kind[T], name model.Name, uid types.UID) error {
	o := &metav1.DeleteOptions{}
	if uid != "" {
		o.Preconditions = &metav1.Preconditions{UID: &uid}
	}
	err := k.judge("delete", name, k.request(c.groups[k.group].Delete(), name).Body(o).Do(ctx).Error())
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrConflict) { // gone, or another one
		return nil
	}
	return err
}

// DeleteAll deletes those of all objects of a kind that are ours; none where the
// API server does not have the kind. Only those that labels select are read;
// empty: all.
func DeleteAll[T Object](ctx context.Context, c *Client, k Kind[T], labels string, ours func(T) bool) error {
	all, err := List(ctx, c, k, "", metav1.ListOptions{LabelSelector: labels})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	errs := []error{err}
	for _, o := range all {
		if ours(o) {
			errs = append(errs, Delete(ctx, c, k, nameOf(o), o.GetUID()))
		}
	}
	return errors.Join(errs...)
}

// AnnotateNode sets annotations of a Node, and removes those without a value.
// Others and the rest of it are left as they are. It goes by the Node's status,
// which takes annotations, too: who may write that may not write the spec.
func AnnotateNode(ctx context.Context, c *Client, node string, annotations map[string]*string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations}})
	if err != nil {
		return fmt.Errorf("annotate Node %s: %w", node, err)
	}
	name := model.Name{Name: node}
	return Nodes.judge("annotate", name, Nodes.request(c.groups[Nodes.group].Patch(types.MergePatchType), name).SubResource("status").Body(patch).Do(ctx).Error())
}

// Merge changes fields of an object, and removes those that are nil. What is not
// named is left as it is.
func Merge[T Object](ctx context.Context, c *Client, k Kind[T], name model.Name, fields map[string]any) error {
	patch, err := json.Marshal(fields)
	if err != nil {
		return fmt.Errorf("change %s %s: %w", k.name, name, err)
	}
	return k.judge("change", name, k.request(c.groups[k.group].Patch(types.MergePatchType), name).Body(patch).Do(ctx).Error())
}
