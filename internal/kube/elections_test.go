package kube

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
)

// voter is a process that runs for Leases.
type voter struct {
	*Elections
	name string
	stop context.CancelFunc
	done chan struct{}

	mu   sync.Mutex
	told map[string][]Tenure
}

func newVoter(t *testing.T, api *kubetest.Server, name string) *voter {
	t.Helper()
	return newPatientVoter(t, api, name, time.Second)
}

// newPatientVoter is one whose Leases last so long.
func newPatientVoter(t *testing.T, api *kubetest.Server, name string, duration time.Duration) *voter {
	t.Helper()
	client, err := Connect(Options{Kubeconfig: api.Kubeconfig()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	v := &voter{name: name, done: make(chan struct{}), told: map[string][]Tenure{}}
	feeds := NewFeeds(client, slog.New(slog.DiscardHandler))
	v.Elections = NewElections(feeds, ElectionOptions{
		Namespace: "kube-system", Label: "waggle.test/election", Identity: name,
		Duration: duration, Deadline: duration / 2, Retry: duration / 8, Tell: v.tell, Log: slog.New(slog.DiscardHandler),
	})
	ctx, stop := context.WithCancel(context.Background())
	v.stop = func() { stop(); <-v.done }
	var parts sync.WaitGroup
	parts.Go(func() { feeds.Run(ctx) })
	parts.Go(func() { // the graph's owner
		for {
			feeds.Apply()
			select {
			case <-ctx.Done():
				return
			case <-feeds.Wake():
			}
		}
	})
	parts.Go(func() { v.Run(ctx) })
	go func() { parts.Wait(); close(v.done) }()
	t.Cleanup(v.stop)
	eventually(t, name+" has read the Leases", feeds.Synced)
	return v
}

func (v *voter) tell(lease string, t Tenure) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.told[lease] = append(v.told[lease], t)
}

// last is what the voter was told last of a Lease.
func (v *voter) last(lease string) Tenure {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := v.told[lease]
	if len(all) == 0 {
		return Tenure{}
	}
	return all[len(all)-1]
}

func (v *voter) leads(lease string) func() bool {
	return func() bool { return v.last(lease).Held }
}

func (v *voter) rests(lease string) func() bool {
	return func() bool { return !v.last(lease).Held }
}

// eventually waits for what no channel tells of, and tells how long it took.
func eventually(t *testing.T, what string, is func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	for !is() {
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(begin)
}

const leasesPath = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/"

// TestElections: each Lease has one leader; the next takes it at once when it
// is given up, and when it has ended if its leader fell silent; many are shared
// out.
func TestElections(t *testing.T) {
	api := kubetest.New(t)
	const duration = 5 * time.Second
	a, b := newPatientVoter(t, api, "a", duration), newPatientVoter(t, api, "b", duration)
	const number = 40
	of := func(i int) string { return fmt.Sprintf("l%d", i) }
	for _, v := range []*voter{a, b} {
		for i := range number {
			v.Want(of(i), false)
		}
		v.Begin()
	}
	count := func(v *voter) (n int) {
		for i := range number {
			if v.last(of(i)).Held {
				n++
			}
		}
		return n
	}
	eventually(t, "each has a leader", func() bool { return count(a)+count(b) == number })
	if n := count(a); n < number/5 || n > number*4/5 {
		t.Errorf("a leads %d of %d", n, number)
	}
	lease := of(0)
	first, second := a, b
	if !a.last(lease).Held {
		first, second = b, a
	}
	first.Leave(lease, false)
	if took := eventually(t, "the other has it", second.leads(lease)); took > duration/2 {
		t.Errorf("what was given up was taken after %s", took)
	}
	if told := second.last(lease); !told.Taken {
		t.Errorf("the other was told %+v", told)
	}
	eventually(t, "the first knows", first.rests(lease))

	first.stop() // without a word
	eventually(t, "the other has all", func() bool { return count(second) == number })
}

// TestElectionsKeep: what a process has, its successor has as well; what nobody
// wants any more is given up, and removed where there is nothing to lead.
func TestElectionsKeep(t *testing.T) {
	api := kubetest.New(t)
	a := newVoter(t, api, "a")
	for _, lease := range []string{"kept", "left", "ended"} {
		a.Want(lease, false)
	}
	a.Begin()
	for _, lease := range []string{"kept", "left", "ended"} {
		eventually(t, lease+" is led", a.leads(lease))
	}
	a.stop()
	next := newVoter(t, api, "a")
	next.Want("kept", false)
	next.Begin()
	eventually(t, "the next leads", next.leads("kept"))
	if told := next.last("kept"); told.Taken {
		t.Errorf("the next was told %+v: it had the Lease", told)
	}
	holder := func(lease string) any {
		spec, _ := api.Get(leasesPath + lease)["spec"].(kubetest.Object)
		return spec["holderIdentity"]
	}
	eventually(t, "the Lease that nobody wants is given up", func() bool { return holder("left") == "" || holder("left") == nil })
	next.Leave("left", true)
	eventually(t, "what was given up is gone", func() bool { return api.Get(leasesPath+"left") == nil })
	next.Leave("kept", true)
	eventually(t, "the Lease is gone", func() bool { return api.Get(leasesPath+"kept") == nil })
	eventually(t, "it leads no more", next.rests("kept"))
}

// TestElectionsResign: a process that leaves for good has all its Leases taken
// by others at once.
func TestElectionsResign(t *testing.T) {
	api := kubetest.New(t)
	const duration = 5 * time.Second
	a := newPatientVoter(t, api, "a", duration)
	a.Want("l", false)
	a.Begin()
	eventually(t, "a leads", a.leads("l"))
	b := newPatientVoter(t, api, "b", duration)
	b.Want("l", false)
	b.Begin()
	a.stop()
	a.Resign(context.Background())
	if told := a.last("l"); !told.Held || !told.Until.IsZero() {
		t.Errorf("a was told %+v: it leads until somebody else does", told)
	}
	if took := eventually(t, "b leads", b.leads("l")); took > duration/2 {
		t.Errorf("b leads after %s", took)
	}
}

// TestElectionsCutOff: while the API server is away everybody stays what he
// is; who finds his Lease taken afterwards leads no more.
func TestElectionsCutOff(t *testing.T) {
	api := kubetest.New(t)
	a := newVoter(t, api, "a")
	a.Want("l", false)
	a.Begin()
	eventually(t, "a leads", a.leads("l"))
	api.Refuse(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/leases/") {
			kubetest.Answer(w, 500, "InternalError")
			return true
		}
		return false
	})
	until := a.last("l").Until
	eventually(t, "the Lease has ended", func() bool { return time.Now().After(until.Add(100 * time.Millisecond)) })
	if !a.last("l").Held {
		t.Error("a leads no more, though nobody else does")
	}
	taken := kubetest.Object{"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": kubetest.Object{"labels": kubetest.Object{"waggle.test/election": ""}},
		"spec": kubetest.Object{"holderIdentity": "b", "leaseDurationSeconds": 3600}}
	api.Put(leasesPath+"l", taken)
	api.Refuse(nil)
	eventually(t, "a leads no more", a.rests("l"))
}

// TestElectionsAPIServerAway: when the API server was away for longer than
// Leases last, whoever led goes on.
func TestElectionsAPIServerAway(t *testing.T) {
	api := kubetest.New(t)
	const duration, number = 6 * time.Second, 12
	voters := []*voter{newPatientVoter(t, api, "a", duration), newPatientVoter(t, api, "b", duration)}
	for _, v := range voters {
		for i := range number {
			v.Want(fmt.Sprint("l", i), false)
		}
		v.Begin()
	}
	taken := func() (n int) {
		for _, v := range voters {
			v.mu.Lock()
			for _, all := range v.told {
				for _, told := range all {
					if told.Taken {
						n++
					}
				}
			}
			v.mu.Unlock()
		}
		return n
	}
	eventually(t, "each has a leader", func() bool { return taken() == number })
	api.Refuse(func(w http.ResponseWriter, _ *http.Request) bool {
		kubetest.Answer(w, 500, "InternalError")
		return true
	})
	time.Sleep(duration + duration/2) // so that all have ended
	api.Refuse(nil)
	time.Sleep(duration)
	if n := taken() - number; n > 0 {
		t.Errorf("%d of %d Leases were taken by another", n, number)
	}
}

// TestElectionsCost: an idle round of renewals is one write a Lease, by its
// leader, and no reads.
func TestElectionsCost(t *testing.T) {
	api := kubetest.New(t)
	const duration = 6 * time.Second // a machine that is busy for that long would have another lead
	a, b := newPatientVoter(t, api, "a", duration), newPatientVoter(t, api, "b", duration)
	for _, v := range []*voter{a, b} {
		v.Want("l", false)
		v.Begin()
	}
	eventually(t, "somebody leads", func() bool { return a.last("l").Held || b.last("l").Held })
	api.Asked()
	begin := time.Now()
	eventually(t, "time has passed", func() bool { return time.Since(begin) > duration })
	asked := api.Asked()
	for _, request := range asked {
		if !strings.HasPrefix(request, "PUT ") {
			t.Errorf("somebody asked %s", request)
		}
	}
	if len(asked) > 4 { // each 2 s
		t.Errorf("%d requests in %s: %v", len(asked), duration, asked)
	}
}

// TestElectionsOfCilium: a Lease that the feed does not select is taken all the
// same, once it has ended.
func TestElectionsOfCilium(t *testing.T) {
	api := kubetest.New(t)
	api.Put(leasesPath+"l", kubetest.Object{"kind": "Lease", "apiVersion": "coordination.k8s.io/v1",
		"spec": kubetest.Object{"holderIdentity": "cilium", "leaseDurationSeconds": 1}})
	a := newVoter(t, api, "a")
	a.Want("l", false)
	a.Begin()
	eventually(t, "a leads", a.leads("l"))
	if told := a.last("l"); !told.Taken {
		t.Errorf("told %+v", told)
	}
}
