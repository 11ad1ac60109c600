package gateway

import (
	"fmt"
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
	asked    int
	strange  int    // answers other than 404 before, and 200 after
	example  string // of a strange one
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

// follow adds a route and asks for it until it answers, and some more.
func (s *site) follow(r *series, clients []*request.Client, name string) error {
	if err := s.AddService(name, s.backends[0]); err != nil {
		return err
	}
	turn := 0
	get := func() (status int) {
		turn++
		r.asked++
		a, err := clients[turn%len(clients)].Get(host(name), "/")
		if err != nil {
			r.odd("%s: %v", host(name), err)
		}
		return a.Status
	}
	if status := get(); status != 404 {
		r.odd("%s: %d before there was a route", host(name), status)
	}
	ticks := time.NewTicker(pollEvery)
	defer ticks.Stop()
	began := time.Now()
	if err := s.addRoute(name, rules(name, "first")); err != nil {
		return err
	}
	returned := time.Now()
	for {
		status := get()
		if status == 200 {
			break
		}
		if status != 404 {
			r.odd("%s: %d before its first 200", host(name), status)
		}
		if time.Since(began) > request.Patience || s.ctx.Err() != nil {
			return fmt.Errorf("%s does not answer after %s", host(name), request.Patience)
		}
		<-ticks.C
	}
	milliseconds := func(from time.Time) float64 { return float64(time.Since(from)) / float64(time.Millisecond) }
	r.sent, r.returned = append(r.sent, milliseconds(began)), append(r.returned, milliseconds(returned))
	for range followUps {
		<-ticks.C
		if status := get(); status != 200 {
			r.odd("%s: %d after its first 200", host(name), status)
		}
	}
	return nil
}

func (r *series) odd(format string, args ...any) {
	if r.strange++; r.example == "" {
		r.example = fmt.Sprintf(format, args...)
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
		)
		churn := "no"
		if r.churn {
			churn = "yes"
		}
		f := func(x float64) string { return fmt.Sprintf("%.1f ms", x) }
		rows = append(rows, []string{fmt.Sprint(r.routes), churn, f(r.sent.Mean()), f(r.sent.Median()), f(r.sent.Quantile(0.99)), f(r.sent.Max()),
			f(r.returned.Mean()), f(r.returned.Max()), fmt.Sprintf("%d of %d", r.strange, r.asked)})
	}
	page.Section("New routes")
	page.Textf("Routes are filed one after the other, each as soon as the one before has answered; each has a host, two rules, two filters, and a Service of its own, which is filed just before and not counted. "+
		"Latency is from just before the API server is asked to the first 200, and from its answer. A client outside asks every %s, on %d connections in turn, and %d times more after the first 200. "+
		"Churn is a route edited each second and a Service's backend replaced every 2 s. The API server, etcd and the client share the machine's cores with Waggle.", pollEvery, askers, followUps)
	page.Table([]string{"routes", "churn", "mean", "median", "99 %", "longest", "mean from the API server's answer", "longest", "strange answers"}, rows)
	for _, r := range all {
		if r.example != "" {
			page.Textf("Strange: %s.", r.example)
		}
	}
}
