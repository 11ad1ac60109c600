package routes

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/waggle-mesh/waggle/test/bench/measure"
	"github.com/waggle-mesh/waggle/test/bench/request"
)

// change is a way to change what is served while clients go on asking.
type change struct {
	name  string
	times int
	every time.Duration
	// write writes the k-th version.
	write func(k int) error
	// saw tells whether the clients have seen the changes, or the run proves
	// nothing.
	saw func(request.Tally) error
}

// changed is what came of it.
type changed struct {
	change
	request.Tally
	took time.Duration
}

// shop is what is served under load: a route that flips, a route with rules,
// plain and by TLS, and neighbours that come and go.
type shop struct {
	dir          string
	plain, https int // ports of the Gateway's listeners
	spare        int // port of the neighbours
	backends     []*backend
	authority    *authority
}

const (
	flipHost  = "flip.example.com"
	rulesHost = "rules.example.com"
	rules     = 5
)

// changes are those of the issue, each with the load going on.
func (s *shop) changes(flips int) []change {
	return []change{
		{"backend flipped, header added and removed", flips, 200 * time.Millisecond, s.flip, sawFlips(flips)},
		{"rules reordered", flips / 2, 100 * time.Millisecond, s.reorder, sawAnswers},
		{"unrelated listeners added and removed", flips / 4, 200 * time.Millisecond, s.neighbours, sawAnswers},
		{"certificate rotated", flips / 4, 200 * time.Millisecond, s.rotate, sawCertificates(flips / 4)},
		{"all of these at once", flips / 4, 200 * time.Millisecond, s.everything, sawAnswers},
	}
}

// measureChanges serves the shop and makes all changes under load.
func (b *bench) measureChanges(ctx context.Context) ([]changed, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	s, err := newShop(dir+"/manifests", b.backends)
	if err != nil {
		return nil, err
	}
	waggle, err := b.binaries.Run(dir, s.dir)
	if err != nil {
		return nil, err
	}
	defer waggle.Stop()
	if err := s.open(ctx, waggle); err != nil {
		return nil, err
	}
	var all []changed
	for _, c := range s.changes(b.flips) {
		began := time.Now()
		l := request.Start(s.clients(), s.questions())
		for k := 1; k <= c.times && ctx.Err() == nil; k++ {
			next := time.Now().Add(c.every)
			if err := c.write(k); err != nil {
				l.End()
				return nil, err
			}
			time.Sleep(time.Until(next))
		}
		t := l.End()
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := c.saw(t); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", c.name, err, waggle.Log())
		}
		all = append(all, changed{c, t, time.Since(began)})
	}
	return all, nil
}

// open waits until every question is answered.
func (s *shop) open(ctx context.Context, waggle *measure.Waggle) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, k := range s.clients() {
		for _, q := range s.questions() {
			c := &request.Client{Address: k.Address, TLS: k.TLS}
			err := waggle.Until(ctx, measure.Often, q.Host+" answered a "+k.Name+" client", func() error {
				_, err := q.Ask(c)
				return err
			})
			c.Close()
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// clients are those that ask all the time.
func (s *shop) clients() []request.Kind {
	plain, https := fmt.Sprintf("127.0.0.1:%d", s.plain), fmt.Sprintf("127.0.0.1:%d", s.https)
	trust := &tls.Config{RootCAs: s.authority.pool()}
	return []request.Kind{
		{Name: "keep-alive", Address: plain, Count: 4},
		{Name: "new-connection", Address: plain, Count: 2, Fresh: true},
		{Name: "TLS keep-alive", Address: https, TLS: trust, Count: 4},
		{Name: "TLS new-connection", Address: https, TLS: trust, Count: 2, Fresh: true},
	}
}

// questions come in the order that the first client asks nothing but the
// flipping route; see request.Start.
func (s *shop) questions() []request.Question {
	qs := []request.Question{{Host: flipHost, Path: "/", Check: s.flipped}}
	for r := range rules {
		want := s.backends[r%len(s.backends)].name
		qs = append(qs, request.Question{Host: rulesHost, Path: rulePath(r), Check: func(a request.Answer) (string, error) {
			if a.Status != 200 || a.Backend != want {
				return "", fmt.Errorf("%d of %q, want backend %s", a.Status, a.Backend, want)
			}
			return want, nil
		}})
	}
	return qs
}

// flipped accepts both versions of the flipping route, and no mixture.
func (s *shop) flipped(a request.Answer) (string, error) {
	header := a.Header.Get(flipHeader)
	switch {
	case a.Status == 200 && a.Backend == s.backends[0].name && header == "":
		return "even", nil
	case a.Status == 200 && a.Backend == s.backends[1].name && header == "yes":
		return "odd", nil
	}
	return "", fmt.Errorf("%d of %q with %s %q", a.Status, a.Backend, flipHeader, header)
}

func sawFlips(times int) func(request.Tally) error {
	return func(t request.Tally) error {
		if t.Changes < times*9/10 {
			return fmt.Errorf("a client saw %d of %d flips", t.Changes, times)
		}
		return sawAnswers(t)
	}
}

func sawAnswers(t request.Tally) error {
	if answered := t.Requests - t.Failed; answered < 100 {
		return fmt.Errorf("%d answers are no load; a failure: %s", answered, t.Example)
	}
	return nil
}

func sawCertificates(times int) func(request.Tally) error {
	return func(t request.Tally) error {
		serials := 0
		for name := range t.Seen {
			if strings.HasPrefix(name, "certificate ") {
				serials++
			}
		}
		if serials < times/2 {
			return fmt.Errorf("clients saw %d certificates of %d", serials, times)
		}
		return sawAnswers(t)
	}
}
