package kube

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
	"github.com/waggle-mesh/waggle/internal/model"
)

// candidate is a process that would lead.
type candidate struct {
	leads, rests chan struct{} // a value each time it has begun to work, and ended
	stop         context.CancelFunc
	ended        chan error
}

func run(t *testing.T, api *kubetest.Server, name string) *candidate {
	t.Helper()
	c := &candidate{leads: make(chan struct{}, 100), rests: make(chan struct{}, 100), ended: make(chan error, 1)}
	client, err := Connect(Options{Kubeconfig: api.Kubeconfig()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	e := NewElection(model.Name{Namespace: "kube-system", Name: "cilium-operator-resource-lock"}, name, slog.New(slog.DiscardHandler))
	e.Duration, e.Deadline, e.Retry = 600*time.Millisecond, 400*time.Millisecond, 50*time.Millisecond
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	go func() {
		c.ended <- e.Lead(ctx, client, func(ctx context.Context) error {
			c.leads <- struct{}{}
			<-ctx.Done()
			c.rests <- struct{}{}
			return nil
		})
	}()
	t.Cleanup(func() { stop() })
	return c
}

func soon(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(10 * time.Second):
		t.Fatalf("never: %s", what)
	}
}

// TestLead: one leads at a time; its end at a word, and its end without one,
// are the other's beginning; and the work of one ends before another's begins.
func TestLead(t *testing.T) {
	api := kubetest.New(t)
	first := run(t, api, "a")
	soon(t, "the first leads", first.leads)
	second := run(t, api, "b")
	time.Sleep(time.Second) // more than the Lease lasts without a renewal
	select {
	case <-second.leads:
		t.Fatal("two lead")
	default:
	}
	begin := time.Now()
	first.stop()
	soon(t, "the second leads", second.leads)
	if took := time.Since(begin); took > 500*time.Millisecond {
		t.Errorf("a leader that gave up was followed after %s: the Lease was not given up", took)
	}
	select {
	case <-first.rests:
	default:
		t.Error("the second began before the first had ended")
	}
	if err := <-first.ended; err != nil {
		t.Error(err)
	}
}

// TestLeaderIsCutOff: a leader that cannot renew stops, and works again as soon
// as it can; nobody else has led.
func TestLeaderIsCutOff(t *testing.T) {
	api := kubetest.New(t)
	only := run(t, api, "a")
	soon(t, "it leads", only.leads)
	api.Refuse(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/leases/") && r.Method == http.MethodPut {
			kubetest.Answer(w, 500, "InternalError")
			return true
		}
		return false
	})
	soon(t, "it has stopped", only.rests)
	api.Refuse(nil)
	soon(t, "it leads again", only.leads)
	only.stop()
	if err := <-only.ended; err != nil {
		t.Error(err)
	}
	soon(t, "another leads", run(t, api, "b").leads)
}

// TestLeaderNoMore: who finds that the Lease names another does not lead again.
func TestLeaderNoMore(t *testing.T) {
	api := kubetest.New(t)
	only := run(t, api, "a")
	soon(t, "it leads", only.leads)
	api.Remove(leasesPath + "cilium-operator-resource-lock")
	soon(t, "it has stopped", only.rests)
	if err := <-only.ended; !errors.Is(err, ErrLeaderNoMore) {
		t.Errorf("error %v", err)
	}
}
