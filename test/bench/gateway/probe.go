package gateway

import (
	"fmt"
	"strings"
	"time"

	"github.com/waggle-mesh/waggle/test/bench/cluster"
	"github.com/waggle-mesh/waggle/test/bench/measure"
	"github.com/waggle-mesh/waggle/test/bench/request"
)

// series is what new routes came to, one after the other.
type series struct {
	routes   int             // that were there before
	churn    bool            // others changed meanwhile
	sent     measure.Figures // from before the API server was told to the first 200, ms
	returned measure.Figures // from its answer, ms
	late     measure.Figures // from the first 200 to the last 404, which another connection had; 0: there was none, ms
	asked    int
	strange  int      // answers other than 404 before and 200 after, on any connection
	unsteady int      // of these, on one connection
	examples []string // of strange ones
}

const (
	pollEvery = 2 * time.Millisecond
	// followUps are questions to a route that has answered.
	followUps = 10
	// askers are the connections that take turns: Envoy's threads share them out.
	askers = 4
)

// probe adds routes one after the other, each as soon as the one before has
// answered, and removes them again.
func (s *site) probe(churn bool) (*series, error) {
	r := &series{routes: s.routes, churn: churn}
	var clients [askers]*request.Client
	for i := range clients {
		clients[i] = s.client()
		defer clients[i].Close()
	}
	var stop func() (int, error)
	if churn {
		stop = s.churn()
	}
	name := func(i int) string { return fmt.Sprintf("probe-%d-%t-%d", s.routes, churn, i) }
	for i := range s.o.Probes {
		if err := s.follow(r, clients[:], name(i)); err != nil {
			return nil, err
		}
	}
	if churn {
		if _, err := stop(); err != nil {
			return nil, err
		}
	}
	err := cluster.Each(s.ctx, s.o.Probes, func(i int) error {
		for _, collection := range []string{cluster.HTTPRoutes, cluster.EndpointSlices, cluster.Services} {
			if err := s.API.Delete(collection + "/" + name(i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("remove routes: %w", err)
	}
	s.o.Progress("new routes among %d, churn %t: mean %.1f ms, longest %.1f ms, %d strange answers", r.routes, churn, r.sent.Mean(), r.sent.Max(), r.strange)
	return r, s.rest()
}

// follow adds a route and asks for it until it answers on all connections, and
// some more.
func (s *site) follow(r *series, clients []*request.Client, name string) error {
	if err := s.AddService(name, s.backends[0]); err != nil {
		return err
	}
	a := &asking{series: r, clients: clients, host: host(name), served: map[int]bool{}}
	a.get()
	if len(a.served) > 0 {
		r.odd("%s: 200 before there was a route", a.host)
	}
	ticks := time.NewTicker(pollEvery)
	defer ticks.Stop()
	began := time.Now()
	if err := s.addRoute(name, rules(name, "first")); err != nil {
		return err
	}
	returned := time.Now()
	for a.get(); len(a.served) < len(clients); a.get() {
		if time.Since(began) > request.Patience || s.ctx.Err() != nil {
			return fmt.Errorf("%s does not answer on all connections after %s", a.host, request.Patience)
		}
		<-ticks.C
	}
	milliseconds := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	r.sent, r.returned = append(r.sent, milliseconds(a.first.Sub(began))), append(r.returned, milliseconds(a.first.Sub(returned)))
	r.late = append(r.late, milliseconds(a.late))
	for range followUps {
		<-ticks.C
		a.get()
	}
	return nil
}

// asking asks for a new route, on connections that take turns. Each is some
// thread's of Envoy's, and Envoy's threads hear of a route one after the other.
type asking struct {
	*series
	clients []*request.Client
	host    string
	turn    int
	served  map[int]bool  // connections that have had a 200
	first   time.Time     // 200
	late    time.Duration // from then to the last 404
}

// get asks on the next connection, which gets 404 until it gets 200 for good.
func (a *asking) get() {
	a.turn++
	a.asked++
	k := a.turn % len(a.clients)
	answer, err := a.clients[k].Get(a.host, "/")
	switch {
	case err != nil:
		a.unsteady++
		a.odd("%s: %v", a.host, err)
	case answer.Status == 200:
		if len(a.served) == 0 {
			a.first = time.Now()
		}
		a.served[k] = true
	case answer.Status != 404 || a.served[k]:
		a.unsteady++
		a.odd("%s: %d on connection %d, served there before: %t", a.host, answer.Status, k, a.served[k])
	case len(a.served) > 0:
		a.late = time.Since(a.first)
		a.odd("%s: 404 on connection %d, %s after the first 200, which was on another", a.host, k, a.late.Round(time.Microsecond))
	}
}

func (r *series) odd(format string, args ...any) {
	if r.strange++; len(r.examples) < 10 {
		r.examples = append(r.examples, fmt.Sprintf(format, args...))
	}
}

// Targets of new routes.
const mostMean, longest = 30, 150 // ms

func (o Options) reportProbes(page *measure.Page, all []*series) {
	var rows [][]string
	for _, r := range all {
		what := fmt.Sprintf("new route among %d", r.routes)
		if r.churn {
			what += ", under churn"
		}
		page.Add(
			measure.Target{What: what + ": applied to first 200, mean of " + fmt.Sprint(len(r.sent)), Want: fmt.Sprintf("≤ %d ms", mostMean),
				Measured: fmt.Sprintf("%.1f ms", r.sent.Mean()), Met: r.sent.Mean() <= mostMean},
			measure.Target{What: what + ": longest", Want: fmt.Sprintf("≤ %d ms", longest),
				Measured: fmt.Sprintf("%.1f ms", r.sent.Max()), Met: r.sent.Max() <= longest},
			measure.Target{What: what + ": answers other than 404 before and 200 after", Want: "0",
				Measured: fmt.Sprintf("%d of %d", r.strange, r.asked), Met: r.strange == 0},
			measure.Target{What: what + ": of these, on one connection", Want: "0", Measured: fmt.Sprint(r.unsteady), Met: r.unsteady == 0},
		)
		churn := "no"
		if r.churn {
			churn = "yes"
		}
		f := func(x float64) string { return fmt.Sprintf("%.1f ms", x) }
		rows = append(rows, []string{fmt.Sprint(r.routes), churn, f(r.sent.Mean()), f(r.sent.Median()), f(r.sent.Quantile(0.99)), f(r.sent.Max()),
			f(r.returned.Mean()), f(r.returned.Max()), f(r.late.Mean()), f(r.late.Max()), fmt.Sprintf("%d of %d", r.strange, r.asked)})
	}
	page.Section("New routes")
	page.Textf("Routes are filed one after the other, each as soon as the one before has answered; each has a host, two rules, two filters, and a Service of its own, which is filed just before and not counted. "+
		"Latency is from just before the API server is asked to the first 200, and from its answer. A client outside asks every %s, on %d connections in turn, until all of them have answered 200, and %d times more: each connection must answer 404 until it answers 200 for good. Envoy's threads hear of a route one after the other, so that another connection may be later. "+
		"Churn is a route edited each second and a Service's backend replaced every 2 s. The API server, etcd and the client share the machine's cores with Waggle.", pollEvery, askers, followUps)
	page.Table([]string{"routes", "churn", "mean", "median", "99 %", "longest", "mean from the API server's answer", "longest", "another connection later by: mean", "longest", "strange answers"}, rows)
	for _, r := range all {
		if len(r.examples) > 0 {
			page.Textf("Strange among %d, churn %t: %s.", r.routes, r.churn, strings.Join(r.examples, "; "))
		}
	}
}
