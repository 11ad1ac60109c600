package gateway

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/waggle-mesh/waggle/test/bench/cluster"
	"github.com/waggle-mesh/waggle/test/bench/measure"
	"github.com/waggle-mesh/waggle/test/bench/request"
	"github.com/waggle-mesh/waggle/test/nodes"
)

// changeEvery is the time between two changes of the route.
const changeEvery = 200 * time.Millisecond

// The route that changes: its versions lead to other Services, and odd ones
// set a header.
const flipping = "flip"

// backendNames are the pods', and their Services'.
var backendNames = [2]string{"north", "south"}

// version is the route's k-th.
func version(k int) []cluster.Object {
	rule := cluster.Object{"backendRefs": []cluster.Object{{"name": backendNames[k%2], "port": 80}}}
	if k%2 == 1 {
		rule["filters"] = []cluster.Object{{"type": "ResponseHeaderModifier", "responseHeaderModifier": cluster.Object{
			"set": []cluster.Object{{"name": versionHeader, "value": "odd"}},
		}}}
	}
	return []cluster.Object{rule}
}

// whole accepts both versions, and no mixture.
func whole(a request.Answer) (string, error) {
	header := a.Header.Get(versionHeader)
	switch {
	case a.Status == 200 && a.Backend == backendNames[0] && header == "":
		return "even", nil
	case a.Status == 200 && a.Backend == backendNames[1] && header == "odd":
		return "odd", nil
	}
	return "", fmt.Errorf("%d of %q with %s %q", a.Status, a.Backend, versionHeader, header)
}

// changes measures whether clients notice that a route changes.
func (o Options) changes(ctx context.Context, put func(string, func(*measure.Page)) error) error {
	var seen request.Tally
	err := o.inCluster(ctx, false, func(s *site) (err error) {
		s.addBackends(func(name string) netip.Addr {
			pod := s.AddPod(name)
			pod.Serve(s.T(), nodes.ServeRequest{Address: ":80"})
			return pod.Addr4
		})
		for i, name := range backendNames {
			if err := s.AddService(name, s.backends[i]); err != nil {
				return err
			}
		}
		if err := s.addRoute(flipping, version(0)); err != nil {
			return err
		}
		c := s.client()
		defer c.Close()
		if err := cluster.Until(ctx, time.Minute, "the route answers", func() error { return answers(c, flipping) }); err != nil {
			return err
		}
		seen, err = s.flip()
		return err
	})
	if err != nil {
		return err
	}
	o.Progress("%d changes: %d of %d requests failed", o.Changes, seen.Failed, seen.Requests)
	return put(changes, func(p *measure.Page) { o.reportChanges(p, seen) })
}

// flip changes the route while clients ask.
func (s *site) flip() (request.Tally, error) {
	kinds := []request.Kind{
		{Name: "keep-alive", Address: s.gateway.String(), Dial: s.dial, Count: 4},
		{Name: "new-connection", Address: s.gateway.String(), Dial: s.dial, Count: 2, Fresh: true},
	}
	l := request.Start(kinds, []request.Question{{Host: host(flipping), Path: "/", Check: whole}})
	for k := 1; k <= s.o.Changes && s.ctx.Err() == nil; k++ {
		next := time.Now().Add(changeEvery)
		if err := s.API.Patch(cluster.HTTPRoutes+"/"+flipping, cluster.Object{"spec": cluster.Object{"rules": version(k)}}); err != nil {
			l.End()
			return request.Tally{}, fmt.Errorf("change the route: %w", err)
		}
		time.Sleep(time.Until(next))
	}
	t := l.End()
	if t.Changes < s.o.Changes*9/10 {
		return t, fmt.Errorf("a client saw %d of %d changes; a failure: %s", t.Changes, s.o.Changes, t.Example)
	}
	return t, s.ctx.Err()
}

func (o Options) reportChanges(page *measure.Page, t request.Tally) {
	page.Add(measure.Target{
		What: fmt.Sprintf("route changed %d times under load: failed requests", o.Changes), Want: "0",
		Measured: fmt.Sprintf("%d of %d", t.Failed, t.Requests), Met: t.Failed == 0,
	})
	page.Section("Changes under load")
	page.Textf("Every %s a route gets another backend and gains or loses a header, %d times. Closed-loop clients outside ask it: 4 with one connection each, 2 with a new connection per request. "+
		"Failed is every error, every status but 200, every mixture of two versions, and every connection that ended without notice. One client saw %d of the changes; there were %d requests on %d connections.",
		changeEvery, o.Changes, t.Changes, t.Requests, t.Connected)
	if t.Failed > 0 {
		page.Textf("A failure: %s.", t.Example)
	}
}
