package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/identity"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
	"github.com/waggle-mesh/waggle/internal/model"
)

// TestIdentitiesOfManyAgents: agents that want identities for the same sets of
// labels at the same time get the same ones, and each set has one, however
// stale what they know is, whatever answers are lost, and where others have
// the numbers that are tried first.
func TestIdentitiesOfManyAgents(t *testing.T) {
	server := kubetest.New(t)
	const path, agents, sets = "/apis/cilium.io/v2/ciliumidentities/", 8, 40
	labels := func(i int) identity.Labels { return identity.Labels{"k8s:app": fmt.Sprint(i)} }
	for i := range sets / 2 { // their first three numbers are others'
		n := 0
		for number := range identity.Candidates(labels(i)) {
			server.Put(fmt.Sprint(path, number), kubetest.Object{"security-labels": kubetest.Object{"k8s:of": fmt.Sprint("others", number)}})
			if n++; n == 3 {
				break
			}
		}
	}
	server.Refuse(loseAnswers(server))
	var got [agents][sets]model.Identity
	var all sync.WaitGroup
	for a := range agents {
		o := newIdentities(t, server)
		all.Go(func() {
			for _, i := range rand.Perm(sets) {
				for range 100 { // the Loop's
					number, err := o.Update(context.Background(), agent.IdentityRequest{Labels: labels(i)})
					if got[a][i] = number; err == nil {
						break
					}
				}
			}
		})
	}
	all.Wait()
	server.Refuse(nil)
	objects := map[string]int{}
	for _, p := range server.Paths(path) {
		text, _ := json.Marshal(server.Get(p)["security-labels"])
		objects[string(text)]++
	}
	for i := range sets {
		for a := range agents {
			if got[a][i] == 0 || got[a][i] != got[0][i] {
				t.Errorf("set %d is %d to agent %d, %d to agent 0", i, got[a][i], a, got[0][i])
			}
		}
		if text, _ := json.Marshal(labels(i)); objects[string(text)] != 1 {
			t.Errorf("set %d has %d identities", i, objects[string(text)])
		}
	}
}

// newIdentities is the Output of one agent, with a feed of its own.
func newIdentities(t *testing.T, server *kubetest.Server) identities {
	client, err := kube.Connect(kube.Options{Kubeconfig: server.Kubeconfig()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var graph flow.Graph
	feeds := kube.NewFeeds(client, slog.New(slog.DiscardHandler))
	source := kube.Feed(feeds, kube.Identities, kube.Table[*ciliumv2.CiliumIdentity](agent.NewNodeInputs(&graph).Identities), kube.Selection{})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); feeds.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	return identities{client: client, source: source}
}

// loseAnswers has one in five writes done and its answer lost, and one in five
// refused.
func loseAnswers(server *kubetest.Server) func(http.ResponseWriter, *http.Request) bool {
	const again = "X-Test-Again"
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || r.Header.Get(again) != "" {
			return false
		}
		switch rand.IntN(5) {
		case 0:
			r.Header.Set(again, "yes")
			server.ServeHTTP(httptest.NewRecorder(), r)
		case 1:
		default:
			return false
		}
		kubetest.Answer(w, 500, "InternalError")
		return true
	}
}

// TestEndpointPutBack: a pod's CiliumEndpoint that somebody deletes is made
// again.
func TestEndpointPutBack(t *testing.T) {
	g := newGround(t)
	const endpoint = "/apis/cilium.io/v2/namespaces/default/ciliumendpoints/web"
	g.node(both)
	g.start(g.settings).ready()
	if _, err := g.pod("web"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		g.until("its endpoint is there", func(*Status) bool { return g.Get(endpoint) != nil })
		g.Remove(endpoint)
	}
}
