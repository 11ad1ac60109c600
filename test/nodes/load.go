package nodes

import (
	"context"
	"fmt"
	"net/rpc"
	"strings"
	"sync"
	"testing"
	"time"
)

// LoadRequest is a kind of client, many times over.
type LoadRequest struct {
	Name    string // unique on the machine
	URL     string
	Host    string // empty: as in the URL
	Method  string // POST is never sent again once a byte of it was written; empty: GET
	Header  map[string]string
	Clients int     // each with a connection of its own
	Rate    float64 // requests per second, over all clients; 0: as fast as they can
	Connect bool    // a connection per request
	H2      bool
	Timeout time.Duration // of a request; zero: 5 s
	Status  int           // what is wanted; zero: 200; Answered: any but 5xx
}

// Answered is the Status of those who want an answer, but not a certain one.
const Answered = -1

// LoadResult is what became of all requests.
type LoadResult struct {
	Name     string
	Requests int
	Dials    int
	Slowest  time.Duration
	Failed   []Failure // every one
}

// Failure is a request that was not answered as it should.
type Failure struct {
	At        time.Time // when it was sent
	Connected time.Time // when its connection was begun
	Took      time.Duration
	What      string
}

func (r LoadResult) String() string {
	text := fmt.Sprintf("%s: %d requests, %d connections, slowest %v, %d failed", r.Name, r.Requests, r.Dials, r.Slowest.Round(time.Millisecond), len(r.Failed))
	for i, f := range r.Failed {
		if i == 5 {
			return text + "\n  …"
		}
		text += fmt.Sprintf("\n  %s after %v: %s", f.At.Format("15:04:05.000"), f.Took.Round(time.Microsecond), f.What)
	}
	return text
}

// Load is a load that runs.
type Load struct {
	m    *Machine
	name string
	call *rpc.Call
	out  *LoadResult
}

// StartLoad starts clients on the machine, until Stop.
func (m *Machine) StartLoad(t testing.TB, r LoadRequest) *Load {
	t.Helper()
	l := &Load{m: m, name: r.Name, out: &LoadResult{}}
	m.call(t, "Prepare", r.Name, &struct{}{})
	l.call = m.calls.Go("Resident.Load", r, l.out, nil)
	return l
}

// Stop lets the requests under way end, and gives the result of all.
func (l *Load) Stop(t testing.TB) LoadResult {
	t.Helper()
	l.m.call(t, "StopLoad", l.name, &struct{}{})
	if call := <-l.call.Done; call.Error != nil {
		t.Fatalf("%s: load %s: %v", l.m.Name, l.name, call.Error)
	}
	return *l.out
}

// loading is a load in the machine.
type loading struct {
	LoadRequest
	mu  sync.Mutex
	out *LoadResult
}

// Prepare makes a load stoppable before it runs.
func (r *Resident) Prepare(name string, _ *struct{}) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stops[name] != nil {
		return fmt.Errorf("load %s runs", name)
	}
	r.stops[name] = func() {}
	return nil
}

// StopLoad is Load.Stop in the machine.
func (r *Resident) StopLoad(name string, _ *struct{}) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stops[name]()
	r.stops[name] = nil // a load that comes to life only now does not begin
	return nil
}

// Load is Machine.StartLoad in the machine.
func (r *Resident) Load(q LoadRequest, out *LoadResult) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r.mu.Lock()
	if r.stops[q.Name] == nil {
		cancel()
	} else {
		r.stops[q.Name] = cancel
	}
	r.mu.Unlock()
	out.Name = q.Name
	l := &loading{LoadRequest: q, out: out}
	var all sync.WaitGroup
	for i := range q.Clients {
		all.Go(func() { l.client(ctx, i) })
	}
	all.Wait()
	r.mu.Lock()
	delete(r.stops, q.Name)
	r.mu.Unlock()
	return nil
}

// client is one of the clients: its n-th request is due at a fixed time.
func (l *loading) client(ctx context.Context, i int) {
	s := newSession(l.H2, !l.Connect, 0, cmpTimeout(l.Timeout))
	defer s.client.CloseIdleConnections()
	var period time.Duration
	if l.Rate > 0 {
		period = time.Duration(float64(l.Clients) / l.Rate * float64(time.Second))
	}
	next := time.Now().Add(period * time.Duration(i) / time.Duration(l.Clients))
	for {
		select {
		case <-ctx.Done():
			l.mu.Lock()
			l.out.Dials += int(s.dials.Load())
			l.mu.Unlock()
			return
		case <-time.After(time.Until(next)):
		}
		next = next.Add(period)
		l.request(s)
	}
}

func (l *loading) request(s *session) {
	start := time.Now()
	status, _, body, err := s.do(FetchRequest{URL: l.URL, Host: l.Host, Method: l.Method, Header: l.Header})
	took := time.Since(start)
	want := l.Status
	if want == 0 {
		want = 200
	}
	var what string
	switch {
	case err != nil:
		what = err.Error()
	case want == Answered && status < 500:
	case status != want:
		what = fmt.Sprintf("status %d: %s", status, body)
	case strings.Contains(l.URL, "stream=") && !strings.HasSuffix(body, "end\n"):
		what = "the stream was cut"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out.Requests++
	l.out.Slowest = max(l.out.Slowest, took)
	if what != "" {
		l.out.Failed = append(l.out.Failed, Failure{At: start, Connected: time.Unix(0, s.dialled.Load()), Took: took, What: what})
	}
}
