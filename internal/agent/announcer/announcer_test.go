package announcer

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/announcement"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
	"github.com/waggle-mesh/waggle/internal/model"
)

// TestGoneOfAnothersLease: the Leases of a-b/c and a/b-c have one name. That the
// one Service goes does not end the announcement of the other.
func TestGoneOfAnothersLease(t *testing.T) {
	api := kubetest.New(t)
	client, err := kube.Connect(kube.Options{Kubeconfig: api.Kubeconfig()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	feeds := kube.NewFeeds(client, slog.New(slog.DiscardHandler))
	o := Options{Enabled: true, Namespace: "kube-system", Duration: time.Second, Deadline: 500 * time.Millisecond, Retry: 100 * time.Millisecond}
	told := make(chan func(), 64)
	n := New(feeds, o, Node{Name: "n1", Tell: func(f func()) { told <- f }, There: func(string) bool { return true }, Log: slog.New(slog.DiscardHandler)})
	go feeds.Run(ctx)
	go n.elections.Run(ctx)
	one, other := model.Name{Namespace: "a-b", Name: "c"}, model.Name{Namespace: "a", Name: "b-c"}
	lease := announcement.Lease(one)
	if lease != announcement.Lease(other) {
		t.Fatal("they have Leases of their own")
	}
	n.rows[lease] = map[string]model.Announcement{one.String(): {Service: one, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}}
	n.elections.Want(lease, false)
	n.elections.Begin()
	renewed := func() {
		select {
		case <-told:
		case <-time.After(10 * time.Second):
			t.Fatalf("the Lease is not renewed: %v", api.Asked())
		}
	}
	renewed() // for the first time
	n.Gone(other)
	renewed()
	renewed()
	gone := func(request string) bool { return strings.HasPrefix(request, "DELETE ") }
	if asked := api.Asked(); slices.ContainsFunc(asked, gone) || api.Get("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/"+lease) == nil {
		t.Errorf("the Lease is not there any more: %v", asked)
	}
}
