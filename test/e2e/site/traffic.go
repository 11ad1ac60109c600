package site

import (
	"slices"
	"time"

	"github.com/waggle-mesh/waggle/test/e2e"
)

// Traffic is requests that go on while a test does something.
type Traffic struct {
	site  *Site
	begin time.Time
	names []string
	loads []*e2e.Load
}

// Begin starts every kind of request from outside, on new connections and on kept
// ones, and, unless the API server will be away, over which pods are reached, a
// pod's to the Service.
func (s *Site) Begin(pods bool) *Traffic {
	s.Helper()
	t := &Traffic{site: s, begin: time.Now()}
	for _, k := range s.kinds() {
		t.add(k.name, s.From("ext"), k.request)
	}
	if pods {
		t.add("pod to Service", s.pod, e2e.Request{URL: "http://web"})
	}
	return t
}

func (t *Traffic) add(name string, from *e2e.Source, r e2e.Request) {
	t.site.Helper()
	for _, kept := range []bool{false, true} {
		r.Rate, r.Workers, r.KeepAlive = rate(), 2, kept
		t.names = append(t.names, name+map[bool]string{true: ", kept", false: ", new connections"}[kept])
		t.loads = append(t.loads, from.Load(r))
	}
}

// end stops it, and gives all requests of each load.
func (t *Traffic) end(each func(name string, rs e2e.Responses)) {
	t.site.Helper()
	for _, l := range t.loads {
		l.More(10)
	}
	total, failed := 0, 0
	for i, l := range t.loads {
		rs := l.Stop()
		total, failed = total+len(rs), failed+len(unanswered(rs))
		each(t.names[i], rs)
	}
	t.site.Logf("%d of %d requests by %d loads failed in %s", failed, total, len(t.loads), time.Since(t.begin).Round(time.Second))
}

// unanswered are those without the answer that each kind of request gets.
func unanswered(rs e2e.Responses) e2e.Responses {
	return slices.DeleteFunc(slices.Clone(rs), func(r e2e.Response) bool { return r.Status == 200 && r.Error == "" })
}

// Unharmed ends the traffic and expects that no request has failed.
func (t *Traffic) Unharmed() {
	t.site.Helper()
	t.end(func(name string, rs e2e.Responses) {
		t.site.Helper()
		if failed := unanswered(rs); len(failed) > 0 {
			t.site.Errorf("%s: %d of %d requests failed:\n%s", name, len(failed), len(rs), failed)
		}
	})
}

// Recovered waits until every kind of request is answered again, ends the traffic,
// and expects that no more time than given lies between the first failed request
// of a load and the end of its last.
func (t *Traffic) Recovered(within time.Duration) {
	t.site.Helper()
	t.site.Answers()
	t.end(func(name string, rs e2e.Responses) {
		t.site.Helper()
		failed := unanswered(rs)
		if len(failed) == 0 {
			return
		}
		last := failed[len(failed)-1]
		took := last.Start.Add(time.Duration(last.Millis * float64(time.Millisecond))).Sub(failed[0].Start)
		t.site.Logf("%s: %d of %d failed within %s", name, len(failed), len(rs), took)
		if took > within {
			t.site.Errorf("%s: requests failed for %s, want at most %s:\n%s", name, took, within, failed)
		}
	})
}
