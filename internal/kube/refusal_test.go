package kube

import (
	"errors"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/waggle-mesh/waggle/internal/model"
)

// TestRefusal: what the API server has against an object is told in words that
// do not depend on the try; what it has not said of the object is no refusal.
func TestRefusal(t *testing.T) {
	services := schema.GroupResource{Resource: "services"}
	invalid := func(name string) error {
		return apierrors.NewInvalid(schema.GroupKind{Kind: "Service"}, name, field.ErrorList{
			field.Invalid(field.NewPath("spec", "ipFamilies").Index(0), "IPv6", "not configured on this cluster"),
		})
	}
	webhook := func(port int) error {
		return apierrors.NewInternalError(fmt.Errorf("failed calling webhook: read tcp 10.0.0.1:%d->10.96.0.9:443: connection reset by peer", port))
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{invalid("a-x7k2m"), `the API server refuses it: spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster`},
		{apierrors.NewForbidden(services, "a-x7k2m", errors.New("exceeded quota: few")), "the API server refuses it: exceeded quota: few"},
		{&apierrors.StatusError{ErrStatus: metav1.Status{Code: 422, Message: `Service "a" is invalid: spec: too long`}}, "the API server refuses it: spec: too long"},
		{webhook(40001), "the API server refuses it: Internal error occurred: failed calling webhook: read tcp 10.96.0.9:443: connection reset by peer"},
		{apierrors.NewNotFound(services, "a"), "the API server does not have the kind, or not the namespace"},
		{ErrNotKept, ErrNotKept.Error()},
		{apierrors.NewConflict(services, "a", errors.New("changed")), ""},
		{apierrors.NewTooManyRequests("busy", 1), ""},
		{apierrors.NewServiceUnavailable("etcd"), ""},
		{&apierrors.StatusError{ErrStatus: metav1.Status{Code: 500, Message: "etcdserver: leader changed"}}, ""},
		{apierrors.NewForbidden(services, "a", errors.New("not yet ready to handle request")), ""},
		{apierrors.NewTimeoutError("slow", 1), ""},
		{errors.New("dial tcp 10.0.0.1:6443: connect: connection refused"), ""},
	} {
		err := c.err
		if err != nil {
			err = fmt.Errorf("write Service a/b: %w", Services.judge("create", model.Name{Namespace: "a", Name: "b"}, err))
		}
		if got := Refusal(err); got != c.want {
			t.Errorf("of %v it says %q, want %q", c.err, got, c.want)
		}
	}
}
