package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/waggle-mesh/waggle/test/bench/cluster"
	"github.com/waggle-mesh/waggle/test/bench/measure"
	"github.com/waggle-mesh/waggle/test/bench/request"
)

// site is a cluster with a Gateway and routes, each with a host, a Service and
// an EndpointSlice of its own.
type site struct {
	*cluster.Cluster
	o        Options
	ctx      context.Context // ends with the cluster
	gateway  netip.AddrPort
	backends [2]netip.Addr
	routes   int // so far
	ticks    int // of churn so far
}

func routeName(i int) string { return fmt.Sprintf("r%05d", i) }

func host(route string) string { return route + ".example.com" }

// versionHeader is set in answers by routes.
const versionHeader = "X-Version"

// rules are a route's: the first changes headers on both ways, the second leads
// to a Service that is not there.
func rules(service, version string) []cluster.Object {
	set := func(kind, field, header string) cluster.Object {
		return cluster.Object{"type": kind, field: cluster.Object{"set": []cluster.Object{{"name": header, "value": version}}}}
	}
	match := func(kind, path string) []cluster.Object {
		return []cluster.Object{{"path": cluster.Object{"type": kind, "value": path}}}
	}
	return []cluster.Object{
		{
			"matches":     match("PathPrefix", "/"),
			"filters":     []cluster.Object{set("RequestHeaderModifier", "requestHeaderModifier", "X-Asked"), set("ResponseHeaderModifier", "responseHeaderModifier", versionHeader)},
			"backendRefs": []cluster.Object{{"name": service, "port": 80}},
		},
		{"matches": match("Exact", "/missing"), "backendRefs": []cluster.Object{{"name": "missing", "port": 80}}},
	}
}

// addRoute files a route to the Service of its name.
func (s *site) addRoute(name string, rules []cluster.Object) error {
	return s.API.Create(cluster.HTTPRoutes, cluster.Object{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": cluster.Object{"name": name},
		"spec": cluster.Object{"parentRefs": []cluster.Object{{"name": "gw"}}, "hostnames": []string{host(name)}, "rules": rules},
	})
}

// edit gives a route a version.
func (s *site) edit(name, version string) error {
	return s.API.Patch(cluster.HTTPRoutes+"/"+name, cluster.Object{"spec": cluster.Object{"rules": rules(name, version)}})
}

// move gives a Service's slice another backend.
func (s *site) move(name string, to netip.Addr) error {
	return s.API.Patch(cluster.EndpointSlices+"/"+name, cluster.Object{"endpoints": cluster.Endpoints(to)})
}

// addBackends makes the pods that answer.
func (s *site) addBackends(serve func(name string) netip.Addr) {
	for i, name := range []string{"north", "south"} {
		s.backends[i] = serve(name)
	}
}

// grow adds routes until there are n, and waits until all of them answer.
func (s *site) grow(n int) error {
	began, from := time.Now(), s.routes
	err := cluster.Each(s.ctx, n-from, func(i int) error {
		name := routeName(from + i)
		if err := s.AddService(name, s.backends[0]); err != nil {
			return err
		}
		return s.addRoute(name, rules(name, "first"))
	})
	if err != nil {
		return fmt.Errorf("file routes: %w", err)
	}
	filed := time.Since(began)
	s.routes = n
	for i := from; i < n; i++ {
		c := s.client()
		err := cluster.Until(s.ctx, 5*time.Minute, host(routeName(i))+" answers", func() error { return answers(c, routeName(i)) })
		c.Close()
		if err != nil {
			return err
		}
	}
	s.o.Progress("%d routes: filed in %s, all answer after %s", n, filed.Round(time.Second), time.Since(began).Round(time.Second))
	return s.rest()
}

// client asks from outside.
func (s *site) client() *request.Client {
	return &request.Client{Address: s.gateway.String(), Dial: s.dial}
}

func (s *site) dial(address string) (net.Conn, error) { return cluster.Dial(s.Client, address) }

// answers tells whether a route answers.
func answers(c *request.Client, route string) error {
	a, err := c.Get(host(route), "/")
	if err == nil && a.Status != 200 {
		err = fmt.Errorf("%d", a.Status)
	}
	return err
}

// processes are those that the page is about.
func (s *site) processes() map[string]int {
	return map[string]int{"operator": s.Operator.PID(), "agent": s.Agent.PID(), "Envoy": s.Envoy.PID()}
}

// rest waits until nothing has anything to do any more, by the CPU that it
// takes: to ask would be work again. The API server is busy for a while after
// new kinds have been filed.
func (s *site) rest() error {
	const interval, still = 500 * time.Millisecond, 8
	var before time.Duration
	for end, calm := time.Now().Add(3*time.Minute), 0; calm < still; time.Sleep(interval) {
		if time.Now().After(end) {
			return errors.New("it did not come to rest within 3 minutes")
		}
		if s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		now, err := measure.CPU(s.Operator.PID(), s.Agent.PID(), s.Envoy.PID(), s.Server.PID())
		if err != nil {
			return err
		}
		if calm++; now-before > interval/20 {
			calm = 0
		}
		before = now
	}
	return nil
}
