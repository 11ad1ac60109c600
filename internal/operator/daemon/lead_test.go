package daemon

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
)

// hasty is an operator that is cut off soon, with a Lease that lasts so long.
func hasty(name string, duration time.Duration) func(*Options) {
	return func(o *Options) {
		o.Kube.UserAgent = name
		o.hasten = func(e *kube.Election) {
			e.Duration, e.Deadline, e.Retry = duration, 500*time.Millisecond, 50*time.Millisecond
		}
	}
}

// noLeaks fails if, when everything has ended that begins from here on, a
// goroutine of it is left.
func noLeaks(t *testing.T) {
	already := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, already) })
}

const routePath = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/"

// routesRead is how many HTTPRoutes an operator knows of.
func (r *running) routesRead() int {
	for _, k := range r.status().Kinds {
		if k.Kind == "HTTPRoute" {
			return k.Objects
		}
	}
	return 0
}

// TestCutOff: an operator that cannot renew its Lease writes nothing, goes on
// reading, and writes again as soon as it can.
func TestCutOff(t *testing.T) {
	for name, fails := range map[string]func(*http.Request) bool{
		"the API server is away": func(*http.Request) bool { return true },
		"the Lease alone":        func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/leases/") },
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			api := kubetest.New(t)
			o := start(t, api, hasty("only", time.Hour))
			settled(t, api, 2)
			before := o.status()
			for i := range 2 {
				api.Refuse(func(w http.ResponseWriter, r *http.Request) bool {
					if fails(r) {
						kubetest.Answer(w, 500, "InternalError")
					}
					return fails(r)
				})
				api.Disconnect()
				until(t, "it does not lead", func() bool { return !o.status().Leads })
				writes(api) // of before
				api.Remove(fmt.Sprintf("%sr%d", routePath, i))
				for _, n := range []int{2 + i, 4 + i} {
					apply(t, api, routeTo("web", n, fmt.Sprintf("h%d.example.com", n)), false)
				}
				if name == "the Lease alone" {
					until(t, "it has read that", func() bool { return o.routesRead() == 3+i })
				}
				if all := writes(api); len(all) > 0 {
					t.Errorf("it does not lead, and writes %q", all)
				}
				api.Refuse(nil)
				until(t, "all is as it should be", func() bool {
					all := cluster(api)
					return strings.Contains(all, fmt.Sprintf("host h%d.", 4+i)) && !strings.Contains(all, fmt.Sprintf("host h%d.", i)) &&
						strings.Count(all, ", host h") == 3+i && strings.Count(all, "by io.cilium") == 3+i
				})
				if now := o.status(); now.Identity != before.Identity || !now.Since.Equal(before.Since) {
					t.Errorf("of %+v has become %+v", before, now)
				}
			}
		})
	}
}

// TestOvertaken: an operator that was cut off for so long that another has led
// waits for the lead as one that has just begun, and looks at everything when it
// has it.
func TestOvertaken(t *testing.T) {
	noLeaks(t)
	api := kubetest.New(t)
	first := start(t, api, hasty("first", time.Second))
	settled(t, api, 1)
	before := first.status()
	second := start(t, api, hasty("second", time.Second))
	api.Refuse(func(w http.ResponseWriter, r *http.Request) bool {
		if r.UserAgent() != "first" {
			return false
		}
		kubetest.Answer(w, 500, "InternalError")
		return true
	})
	until(t, "the other leads", func() bool { return second.status().Leads })
	if first.status().Leads {
		t.Error("both lead")
	}
	apply(t, api, routeTo("web", 1, "h1.example.com"), false)
	until(t, "it writes", func() bool { return strings.Contains(cluster(api), "host h1.") })
	api.Refuse(nil)
	until(t, "the first has begun anew", func() bool {
		s := first.status()
		return s.Identity != "" && s.Identity != before.Identity && s.OK()
	})
	left := ""
	for _, path := range api.Paths(madeConfigs) {
		left = path + "0" // as a part that is no more
		o := api.Get(path)
		delete(kubetest.Meta(o), "uid")
		api.Put(left, o)
	}
	second.end()
	until(t, "the first leads", func() bool { return first.status().Leads })
	until(t, "it has looked at everything", func() bool { return api.Get(left) == nil })
	apply(t, api, routeTo("web", 2, "h2.example.com"), false)
	until(t, "it writes", func() bool { return strings.Contains(cluster(api), "host h2.") })
}
