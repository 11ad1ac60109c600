package mesh

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/test/e2e"
)

// rate is how many requests a second each load makes.
const rate = 20

// times is how often a test does something: in "make e2e-mesh-long", or otherwise.
func times(long, short int) int {
	if os.Getenv("WAGGLE_LONG") != "" {
		return long
	}
	return short
}

// site is a Gateway with HTTP, HTTPS and gRPC behind it, and a Service that is
// led through a CiliumEnvoyConfig.
type site struct {
	*e2e.Test
	address string
	pod     *e2e.Source
}

func newSite(t *testing.T) *site {
	t.Helper()
	c := e2e.New(t)
	c.TLSSecret("site", "site.example.org")
	c.Apply(strings.ReplaceAll(own(t).text(t, "site.yaml"), "NAMESPACE", c.Namespace))
	c.Wait("deployment/web", "Available")
	c.Wait("deployment/fortio", "Available")
	s := &site{c, addressOf(c, "site"), c.Client("")}
	for _, k := range s.kinds() {
		s.From("ext").OK(k.request, 200)
	}
	envoyed(s.pod, c, "http://web", true)
	return s
}

type kind struct {
	name    string
	request e2e.Request
}

// kinds are the requests to the Gateway.
func (s *site) kinds() []kind {
	tls := e2e.Request{URL: "https://site.example.org/", Connect: e2e.HostPort(s.address, "443"), Insecure: true}
	tls2 := tls
	tls2.HTTP2 = true
	return []kind{
		{"HTTP/1", e2e.Request{URL: "http://" + s.address + "/"}},
		{"HTTP/2", e2e.Request{URL: "http://" + s.address + "/", HTTP2: true}},
		{"gRPC", e2e.Request{URL: "http://" + s.address, GRPC: true}},
		{"TLS", tls},
		{"TLS, HTTP/2", tls2},
	}
}

// traffic is requests that go on while a test does something.
type traffic struct {
	c     *e2e.Test
	names []string
	loads []*e2e.Load
}

// begin starts it: every kind from outside, on new connections and on kept ones,
// and, unless the API server will be away, over which pods are reached, a pod's
// to the Service.
func (s *site) begin(pods bool) *traffic {
	s.Helper()
	t := &traffic{c: s.Test}
	for _, k := range s.kinds() {
		t.add(k.name, s.From("ext"), k.request)
	}
	if pods {
		t.add("pod to Service", s.pod, e2e.Request{URL: "http://web"})
	}
	return t
}

func (t *traffic) add(name string, from *e2e.Source, r e2e.Request) {
	t.c.Helper()
	for _, kept := range []bool{false, true} {
		r.Rate, r.Workers, r.KeepAlive = rate, 2, kept
		t.names = append(t.names, name+map[bool]string{true: ", kept", false: ", new connections"}[kept])
		t.loads = append(t.loads, from.Load(r))
	}
}

// end stops it, and gives all requests of each load.
func (t *traffic) end(each func(name string, rs e2e.Responses)) {
	t.c.Helper()
	for _, l := range t.loads {
		l.More(rate)
	}
	total := 0
	for i, l := range t.loads {
		rs := l.Stop()
		total += len(rs)
		each(t.names[i], rs)
	}
	t.c.Logf("%d requests by %d loads", total, len(t.loads))
}

// unharmed expects that no request has failed.
func (t *traffic) unharmed() {
	t.c.Helper()
	t.end(func(name string, rs e2e.Responses) {
		t.c.Helper()
		if failed := rs.Failures(); len(failed) > 0 {
			t.c.Errorf("%s: %d of %d requests failed:\n%s", name, len(failed), len(rs), failed)
		}
	})
}

// recovered waits until every kind of request is answered again, and expects that
// no more time than given lies between the first failed request and the end of
// the last.
func (s *site) recovered(t *traffic, within time.Duration) {
	t.c.Helper()
	for _, k := range s.kinds() {
		s.From("ext").OK(k.request, 200)
	}
	s.pod.OK(e2e.Request{URL: "http://web"}, 200)
	t.end(func(name string, rs e2e.Responses) {
		t.c.Helper()
		failed := rs.Failures()
		if len(failed) == 0 {
			return
		}
		last := failed[len(failed)-1]
		took := last.Start.Add(time.Duration(last.Millis * float64(time.Millisecond))).Sub(failed[0].Start)
		t.c.Logf("%s: %d of %d failed within %s", name, len(failed), len(rs), took)
		if took > within {
			t.c.Errorf("%s: requests failed for %s, want at most %s:\n%s", name, took, within, failed)
		}
	})
}
