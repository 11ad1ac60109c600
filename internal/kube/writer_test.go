package kube

import (
	"context"
	"errors"
	"slices"
	"testing"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
	"github.com/waggle-mesh/waggle/internal/model"
)

// TestAnewTerminating: while an object that is to be made anew is not gone, nothing
// is sent, and the error says what is waited for.
func TestAnewTerminating(t *testing.T) {
	f := kubetest.New(t)
	o := endpoint("10.0.1.5")
	kubetest.Meta(o)["deletionTimestamp"], kubetest.Meta(o)["finalizers"] = "2026-01-01T00:00:00Z", []any{"example.com/cloud"}
	f.Put(endpointsPath+"/web", o)
	c := connect(t, f)
	w := newWorld(t, c)
	w.until("synced", w.feeds.Synced)
	writer, ctx := newWriter(c, w.source), context.Background()
	writer.o.Anew = func(r row, o *ciliumv2.CiliumEndpoint) bool {
		return o.Status.Networking.Addressing[0].IPV4 != r.ip
	}
	if _, err := writer.Update(ctx, row{"default/web", "10.0.1.6"}); !errors.Is(err, errTerminating) {
		t.Errorf("while the old one is there: %v", err)
	}
	if asked := f.Asked(); len(asked) > 0 {
		t.Errorf("requests %q", asked)
	}
	f.Remove(endpointsPath + "/web")
	w.until("the feed has seen it", func() bool {
		_, there := w.source.Newest(model.Name{Namespace: "default", Name: "web"})
		return !there
	})
	if _, err := writer.Update(ctx, row{"default/web", "10.0.1.6"}); err != nil || !slices.Equal(f.Asked(), []string{"POST " + endpointsPath}) {
		t.Errorf("when it is gone: %v", err)
	}
}
