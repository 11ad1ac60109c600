package kube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"

	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
	"github.com/waggle-mesh/waggle/internal/model"
)

// line is a process's way to the API server, in a bubble of synctest: requests
// and answers take their time, and may be lost.
type line struct {
	api      *kubetest.Server
	requests sync.WaitGroup // under way, whoever still waits for them
	mu       sync.Mutex
	cut      bool
	slow     time.Duration // how long a request may be under way, and an answer
	random   *rand.Rand
}

func newLine(api *kubetest.Server, seed uint64) *line {
	return &line{api: api, slow: time.Millisecond, random: rand.New(rand.NewPCG(seed, 0))}
}

var errLost = errors.New("connection lost")

func (l *line) isCut() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut
}

func (l *line) set(cut bool, slow time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut, l.slow = cut, slow
}

// takes is how long the next way is: mostly short.
func (l *line) takes() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	longest := l.slow
	if l.random.IntN(4) > 0 {
		longest = longest/100 + 1
	}
	return time.Duration(l.random.Int64N(int64(longest)))
}

// RoundTrip is http.RoundTripper's.
func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	if l.isCut() {
		return nil, errLost
	}
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		r.Body.Close()
	}
	sent := r.Clone(context.Background())
	sent.Body = io.NopCloser(bytes.NewReader(body))
	answer := make(chan *http.Response, 1)
	l.requests.Go(func() {
		time.Sleep(l.takes())
		recorder := httptest.NewRecorder()
		l.api.ServeHTTP(recorder, sent)
		time.Sleep(l.takes())
		if !l.isCut() {
			answer <- recorder.Result()
		}
	})
	select {
	case a := <-answer:
		return a, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// quorum is processes that run for one Lease.
type quorum struct {
	t       *testing.T
	api     *kubetest.Server
	mu      sync.Mutex
	working []string // those that work
	terms   int      // that have begun
	lost    int      // how often a process has ended as ErrLeaderNoMore
}

// begin adds a process, which begins anew, as another, when it has lost the
// lead; linger is for how long its work goes on when it is to end.
func (q *quorum) begin(ctx context.Context, name string, l *line, linger time.Duration) {
	config := &rest.Config{Host: "http://api", QPS: -1, Transport: l}
	client, err := clientFor(config)
	if err != nil {
		q.t.Fatal(err)
	}
	work := func(ctx context.Context) error {
		q.works(name, true)
		<-ctx.Done()
		time.Sleep(linger)
		q.works(name, false)
		return nil
	}
	for life := 0; ctx.Err() == nil; life++ {
		e := NewElection(model.Name{Namespace: "kube-system", Name: "lock"}, fmt.Sprintf("%s-%d", name, life), slog.New(slog.DiscardHandler))
		if errors.Is(e.Lead(ctx, client, work), ErrLeaderNoMore) {
			q.mu.Lock()
			q.lost++
			q.mu.Unlock()
		}
	}
}

func (q *quorum) works(name string, on bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !on {
		q.working = slices.DeleteFunc(q.working, func(other string) bool { return other == name })
		return
	}
	q.working = append(q.working, name)
	q.terms++
	if len(q.working) > 1 {
		q.t.Errorf("%v work at once", q.working)
	}
}

// leader is who works; empty: nobody.
func (q *quorum) leader() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.working) == 0 {
		return ""
	}
	return q.working[0]
}

// renewal waits until the Lease is renewed, which no other process has seen then.
func (q *quorum) renewal() (leader string) {
	renewed := func() any { return q.api.Get(leasesPath + "lock")["spec"].(kubetest.Object)["renewTime"] }
	for last := renewed(); last == renewed(); {
		time.Sleep(time.Millisecond)
	}
	return q.leader()
}

func (q *quorum) counts() (terms, lost int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.terms, q.lost
}

// bubble plays with a quorum: a of the first line leads.
func bubble(t *testing.T, seed uint64, linger time.Duration, play func(t *testing.T, q *quorum, lines []*line)) {
	api := kubetest.New(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		q := &quorum{t: t, api: api}
		var lines []*line
		var all sync.WaitGroup
		for i, name := range []string{"a", "b", "c"} {
			l := newLine(api, seed+uint64(i))
			lines = append(lines, l)
			all.Go(func() { q.begin(ctx, name, l, linger) })
			time.Sleep(time.Second)
		}
		play(t, q, lines)
		stop()
		all.Wait()
		for _, l := range lines {
			l.requests.Wait()
		}
	})
}

// TestAPIServerAway: who led when the API server went away leads again at once
// when it is back, however long that took, and did not work meanwhile.
func TestAPIServerAway(t *testing.T) {
	for _, away := range []time.Duration{5 * time.Second, 12 * time.Second, time.Minute} {
		t.Run(away.String(), func(t *testing.T) {
			bubble(t, 0, 0, func(t *testing.T, q *quorum, lines []*line) {
				cut := func(cut bool) {
					for _, l := range lines {
						l.set(cut, time.Millisecond)
					}
				}
				time.Sleep(time.Minute)
				q.renewal()
				cut(true)
				first := min(away, 10*time.Second)
				time.Sleep(first)
				if leads := q.leader() == "a"; leads != (away < 10*time.Second) {
					t.Errorf("after %s without the API server it leads: %t", first, leads)
				}
				time.Sleep(away - first)
				cut(false)
				time.Sleep(700 * time.Millisecond)
				if leader := q.leader(); leader != "a" {
					t.Errorf("soon after its return %q leads", leader)
				}
				time.Sleep(10 * time.Minute)
				leader := q.leader()
				if _, lost := q.counts(); leader != "a" || lost > 0 {
					t.Errorf("long after it %q leads, %d have lost", leader, lost)
				}
			})
		})
	}
}

// TestAnotherLeads: who alone is cut off is followed, and does not lead again as
// who it was.
func TestAnotherLeads(t *testing.T) {
	bubble(t, 0, 0, func(t *testing.T, q *quorum, lines []*line) {
		for i := range 40 {
			time.Sleep(rand.N(time.Minute))
			before := q.renewal()
			l := lines[slices.Index([]string{"a", "b", "c"}, before)]
			l.set(true, time.Millisecond)
			time.Sleep(18 * time.Second) // as NewElection promises
			if after := q.leader(); after == before || after == "" {
				t.Fatalf("%q led, %q leads", before, after)
			}
			l.set(false, time.Millisecond)
			time.Sleep(time.Second)
			if _, lost := q.counts(); lost != i+1 {
				t.Fatalf("%d have lost in %d rounds", lost, i+1)
			}
		}
	})
}

// TestNeverTwo: whatever is lost and however late it comes, no two work at once;
// and somebody does when all is well.
func TestNeverTwo(t *testing.T) {
	for seed := range uint64(8) {
		const linger = 4 * time.Second // less than between Deadline and Duration
		bubble(t, 10*seed, linger, func(t *testing.T, q *quorum, lines []*line) {
			random := rand.New(rand.NewPCG(seed, 1))
			for range 100 {
				for _, l := range lines {
					l.set(random.IntN(3) == 0, 12*time.Second)
				}
				time.Sleep(time.Duration(random.Int64N(int64(time.Minute))))
			}
			if terms, _ := q.counts(); terms < 20 {
				t.Errorf("only %d terms", terms)
			}
			for _, l := range lines {
				l.set(false, 100*time.Millisecond)
			}
			time.Sleep(time.Minute)
			if q.leader() == "" {
				t.Error("nobody leads when all is well")
			}
		})
	}
}
