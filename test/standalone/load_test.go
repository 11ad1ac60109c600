package standalone_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// load is clients that ask one after the other, without pause, and note what
// fails: half of them over one connection, half over a new one each time.
type load struct {
	t       *testing.T
	end     chan struct{}
	clients sync.WaitGroup

	mu     sync.Mutex
	served map[string]int
	failed []failure
	check  func(*answer) error
}

type failure struct {
	at  time.Time
	err error
}

// load begins to send requests. A request fails if it is not answered, or by
// nobody that is allowed, separated by spaces.
func (m *site) load(line, allowed string) *load {
	return m.loadFrom([]*http.Client{m.newClient(nil), m.hasty(m.newClient(nil))}, line, allowed)
}

// hasty makes a client use every connection once.
func (m *site) hasty(client *http.Client) *http.Client {
	client.Transport.(*http.Transport).DisableKeepAlives = true
	return client
}

func (m *site) loadFrom(clients []*http.Client, line, allowed string) *load {
	l := &load{t: m.t, end: make(chan struct{}), served: map[string]int{}}
	by := strings.Fields(allowed)
	for _, client := range clients {
		l.clients.Go(func() {
			for {
				select {
				case <-l.end:
					return
				default:
				}
				a, err := m.try(client, line)
				if err == nil && !slices.Contains(by, a.by()) {
					err = fmt.Errorf("answered by %s", a.by())
				}
				l.note(a, err)
			}
		})
	}
	m.t.Cleanup(l.stop)
	return l
}

// require is one more thing that every answer must be, from now on.
func (l *load) require(check func(*answer) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.check = check
}

func (l *load) note(a *answer, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && l.check != nil {
		err = l.check(a)
	}
	if err != nil {
		l.failed = append(l.failed, failure{time.Now(), err})
		return
	}
	l.served[a.by()]++
}

// await waits for n more answers of one backend.
func (l *load) await(by string, n int) {
	l.t.Helper()
	l.mu.Lock()
	before := l.served[by]
	l.mu.Unlock()
	err := poll(func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.failed) > 0 {
			return nil
		}
		return enough(l.served[by]-before, n)
	})
	if err != nil {
		l.t.Fatalf("answers of %s: %v", by, err)
	}
	l.expectNoFailure()
}

// some waits for n more answers of anybody.
func (l *load) some(n int) {
	l.t.Helper()
	before := l.total()
	if err := poll(func() error { return enough(l.total()-before, n) }); err != nil {
		l.t.Fatalf("answers: %v", err)
	}
	l.expectNoFailure()
}

func (l *load) total() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, served := range l.served {
		n += served
	}
	return n + len(l.failed)
}

// expectNoFailure ends the test if a request has failed.
func (l *load) expectNoFailure() {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var all error
	for i, f := range l.failed {
		if i == 10 {
			all = errors.Join(all, errors.New("and so on"))
			break
		}
		all = errors.Join(all, fmt.Errorf("%s: %w", f.at.Format("15:04:05.000"), f.err))
	}
	if all != nil {
		l.t.Fatalf("%d requests failed, answered were %v:\n%v", len(l.failed), l.served, all)
	}
}

// stop ends the load; see expectNoFailure.
func (l *load) stop() {
	select {
	case <-l.end:
	default:
		close(l.end)
	}
	l.clients.Wait()
}

// finish ends the load, in which no request may have failed.
func (l *load) finish() {
	l.t.Helper()
	l.stop()
	l.expectNoFailure()
}
