package routes

import (
	"crypto/tls"
	"fmt"
	"maps"
	"sync"
)

// load is closed-loop clients: each asks again as soon as it has its answer.
type load struct {
	stop chan struct{}
	done sync.WaitGroup

	mu    sync.Mutex
	tally tally
}

// tally is what a load saw.
type tally struct {
	requests  int
	failed    int
	example   string         // of a failure
	connected int            // connections opened
	seen      map[string]int // answers, by what they were
	changes   int            // times the longest-standing client saw another answer than before
}

// question is one client's request, and what it may be answered: check gives
// the answer a name, or an error.
type question struct {
	host, path string
	check      func(answer) (string, error)
}

// kindOfClient says how clients of a load connect.
type kindOfClient struct {
	name    string
	address string
	tls     *tls.Config
	count   int
	fresh   bool // a new connection per request
}

// startLoad begins with all kinds of clients, sharing out the questions.
func startLoad(kinds []kindOfClient, questions []question) *load {
	l := &load{stop: make(chan struct{}), tally: tally{seen: map[string]int{}}}
	first := true
	for _, k := range kinds {
		for i := range k.count {
			watches := first
			first = false
			l.done.Go(func() { l.ask(k, questions[i%len(questions):], watches) })
		}
	}
	return l
}

// ask is one client's life.
func (l *load) ask(k kindOfClient, questions []question, watches bool) {
	c := &client{address: k.address, tls: k.tls}
	defer c.close()
	own := tally{seen: map[string]int{}}
	defer func() { l.add(own, c.opened) }()
	last := ""
	for {
		select {
		case <-l.stop:
			return
		default:
		}
		q := questions[own.requests%len(questions)]
		own.requests++
		name, err := q.ask(c)
		if err != nil {
			own.failed++
			if own.example == "" {
				own.example = fmt.Sprintf("%s client, %s%s: %v", k.name, q.host, q.path, err)
			}
			continue
		}
		own.seen[name]++
		if watches && last != "" && name != last {
			own.changes++
		}
		last = name
		if k.fresh {
			if cert := c.certificate(); cert != nil {
				own.seen["certificate "+cert.SerialNumber.String()]++
			}
			c.close()
		}
	}
}

func (q question) ask(c *client) (string, error) {
	a, err := c.get(q.host, q.path)
	if err != nil {
		return "", err
	}
	return q.check(a)
}

func (l *load) add(own tally, connections int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &l.tally
	t.requests += own.requests
	t.failed += own.failed
	t.connected += connections
	t.changes += own.changes
	if t.example == "" {
		t.example = own.example
	}
	for name, n := range own.seen {
		t.seen[name] += n
	}
}

// end stops the clients and tells what they saw.
func (l *load) end() tally {
	close(l.stop)
	l.done.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tally
	t.seen = maps.Clone(t.seen)
	return t
}
