package request

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"sync"
)

// Load is closed-loop clients: each asks again as soon as it has its answer.
type Load struct {
	stop chan struct{}
	done sync.WaitGroup

	mu    sync.Mutex
	tally Tally
}

// Tally is what a load saw.
type Tally struct {
	Requests  int
	Failed    int
	Example   string         // of a failure
	Connected int            // connections opened
	Seen      map[string]int // answers, by what they were
	Changes   int            // times the longest-standing client saw another answer than before
}

// Question is one client's request, and what it may be answered: Check gives
// the answer a name, or an error.
type Question struct {
	Host, Path string
	Check      func(Answer) (string, error)
}

// Kind says how clients of a load connect.
type Kind struct {
	Name    string
	Address string
	TLS     *tls.Config
	Dial    func(address string) (net.Conn, error) // nil: from this process's network
	Count   int
	Fresh   bool // a new connection per request
}

// Start begins with all kinds of clients, sharing out the questions.
func Start(kinds []Kind, questions []Question) *Load {
	l := &Load{stop: make(chan struct{}), tally: Tally{Seen: map[string]int{}}}
	first := true
	for _, k := range kinds {
		for i := range k.Count {
			watches := first
			first = false
			l.done.Go(func() { l.ask(k, questions[i%len(questions):], watches) })
		}
	}
	return l
}

// ask is one client's life.
func (l *Load) ask(k Kind, questions []Question, watches bool) {
	c := &Client{Address: k.Address, TLS: k.TLS, Dial: k.Dial}
	defer c.Close()
	own := Tally{Seen: map[string]int{}}
	defer func() { l.add(own, c.opened) }()
	last := ""
	for {
		select {
		case <-l.stop:
			return
		default:
		}
		q := questions[own.Requests%len(questions)]
		own.Requests++
		name, err := q.Ask(c)
		if err != nil {
			own.Failed++
			if own.Example == "" {
				own.Example = fmt.Sprintf("%s client, %s%s: %v", k.Name, q.Host, q.Path, err)
			}
			continue
		}
		own.Seen[name]++
		if watches && last != "" && name != last {
			own.Changes++
		}
		last = name
		if k.Fresh {
			if cert := c.certificate(); cert != nil {
				own.Seen["certificate "+cert.SerialNumber.String()]++
			}
			c.Close()
		}
	}
}

// Ask asks once, and gives the answer's name.
func (q Question) Ask(c *Client) (string, error) {
	a, err := c.Get(q.Host, q.Path)
	if err != nil {
		return "", err
	}
	return q.Check(a)
}

func (l *Load) add(own Tally, connections int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &l.tally
	t.Requests += own.Requests
	t.Failed += own.Failed
	t.Connected += connections
	t.Changes += own.Changes
	if t.Example == "" {
		t.Example = own.Example
	}
	for name, n := range own.Seen {
		t.Seen[name] += n
	}
}

// End stops the clients and tells what they saw.
func (l *Load) End() Tally {
	close(l.stop)
	l.done.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tally
	t.Seen = maps.Clone(t.Seen)
	return t
}
