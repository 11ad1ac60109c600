package mesh

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/test/e2e"
	"github.com/waggle-mesh/waggle/test/e2e/site"
)

const (
	system   = "kube-system"
	restarts = `jsonpath={range .items[*]}{.metadata.name}={.status.containerStatuses[0].restartCount} {end}`
)

// life is a site whose parts of the mesh end, are replaced, and begin again.
type life struct {
	*site.Site
	envoys string // the workload that Envoy is a part of
}

func newLife(t *testing.T) life {
	t.Helper()
	s := life{site.New(t), "daemonset/cilium-envoy"}
	s.Apply(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: news}
spec: {parentRefs: [{name: site}], hostnames: [news.example.org], rules: [{filters: [{type: RequestRedirect, requestRedirect: {statusCode: 302, hostname: moved.example.org}}]}]}
`)
	if s.Kubectl("-n", system, "get", "daemonsets", "-l", "k8s-app=cilium-envoy", "-o", "name") == "" {
		s.envoys = "daemonset/cilium"
	}
	return s
}

func (s life) on(t *testing.T) life { return life{s.On(t), s.envoys} }

// Parts of the mesh end, are replaced, and begin again: no request fails.
func TestRestarts(t *testing.T) {
	s := newLife(t)
	for _, r := range []struct {
		name string
		pods bool // traffic of pods goes on, too
		do   func(life)
	}{
		{"agent killed", true, func(s life) { s.killed("daemonset/cilium", "k8s-app=cilium", "/usr/bin/waggle agent") }},
		{"operator killed", true, func(s life) {
			s.killed("deployment/cilium-operator", "io.cilium/app=operator", "/usr/bin/waggle operator")
		}},
		{"agent rolled out", true, func(s life) { s.rolledOut("daemonset/cilium") }},
		{"operator rolled out", true, func(s life) { s.rolledOut("deployment/cilium-operator") }},
		{"Envoy rolled out", true, func(s life) { s.rolledOut(s.envoys) }},
		{"API server away", false, life.withoutAPIServer},
	} {
		t.Run(r.name, func(t *testing.T) {
			s := s.on(t)
			traffic := s.Begin(r.pods)
			n := times(20, 1)
			for i := range n {
				begin := time.Now()
				r.do(s)
				t.Logf("%s, %d of %d, took %s", r.name, i+1, n, time.Since(begin).Round(time.Second))
			}
			traffic.Unharmed()
		})
	}
}

// An Envoy that crashes takes its connections with it, and is back within two
// seconds.
func TestEnvoyCrash(t *testing.T) {
	s := site.New(t)
	for range times(20, 2) {
		traffic := s.Begin(true)
		for _, node := range s.Nodes() {
			s.Kill(node, "/usr/bin/envoy ")
		}
		traffic.Recovered(2 * time.Second)
	}
}

// When the operator that leads ends without a word the other one takes over, and
// does what has been asked for meanwhile.
func TestStandby(t *testing.T) {
	s := newLife(t)
	for range times(5, 1) {
		first, _ := s.leader()
		s.Kill(first[:strings.LastIndexByte(first, '-')], "/usr/bin/waggle operator")
		killed := time.Now()
		served := s.edit()
		var since time.Time
		s.Eventually("another operator leads", func() error {
			var next string
			if next, since = s.leader(); next == first || next == "" {
				return fmt.Errorf("it is %q", next)
			}
			return nil
		})
		s.within(20*time.Second, "another operator leads", since.Sub(killed))
		served()
		t.Logf("what was written meanwhile is served after %s", time.Since(killed).Round(time.Millisecond))
		s.ready("deployment/cilium-operator")
	}
}

// leader is the operator that leads, named NODE-TIME, and since when.
func (s life) leader() (name string, since time.Time) {
	s.Helper()
	text := s.Kubectl("-n", system, "get", "lease/cilium-operator-resource-lock", "-o", "jsonpath={.spec.holderIdentity} {.spec.acquireTime}")
	name, acquired, _ := strings.Cut(text, " ")
	since, err := time.Parse(time.RFC3339Nano, acquired)
	if err != nil {
		s.Fatalf("the Lease is %q", text)
	}
	return name, since
}

// edit gives a route another host, as soon as the API server takes it, and
// returns what waits until the host is served.
func (s life) edit() (served func()) {
	s.Helper()
	host := fmt.Sprintf("h%d.example.org", time.Now().UnixMilli())
	s.Eventually("the route is written", func() error {
		if said := s.Attempt("patch", "httproute/news", "--type=merge", "-p", `{"spec":{"hostnames":["`+host+`"]}}`); !strings.HasSuffix(said, " patched") {
			return fmt.Errorf("%s", said)
		}
		return nil
	})
	return func() {
		s.Helper()
		s.From("ext").OK(e2e.Request{URL: "http://" + e2e.HostPort(s.Address, "80"), Host: host}, 302)
	}
}

// busy is what a machine that does other work, too, may add to what is promised:
// in "make e2e-mesh-long" it does not.
func busy() time.Duration { return time.Duration(times(0, 10)) * time.Second }

// within says how long something took, and expects what is promised.
func (s life) within(promised time.Duration, what string, took time.Duration) {
	s.Helper()
	s.Logf("%s after %s (promised: %s)", what, took.Round(time.Millisecond), promised)
	if took > promised+busy() {
		s.Errorf("%s after %s, which is %s more than promised", what, took, took-promised)
	}
}

// times is how often a test does something: in "make e2e-mesh-long", or otherwise.
func times(long, short int) int {
	if os.Getenv("WAGGLE_LONG") != "" {
		return long
	}
	return short
}

// killed ends a workload's programs on all nodes without warning, and waits until
// they have been started again.
func (s life) killed(workload, label, command string) {
	s.Helper()
	before := s.Kubectl("-n", system, "get", "pods", "-l", label, "-o", restarts)
	for _, node := range strings.Fields(s.Kubectl("-n", system, "get", "pods", "-l", label, "-o", "jsonpath={.items[*].spec.nodeName}")) {
		s.Kill(node, command)
	}
	s.Eventually("all have been started again", func() error {
		after := s.Kubectl("-n", system, "get", "pods", "-l", label, "-o", restarts)
		for _, pod := range strings.Fields(before) {
			if strings.Contains(after, pod) {
				return equal(after, "more than "+before)
			}
		}
		return nil
	})
	s.ready(workload)
}

func (s life) rolledOut(workload string) {
	s.Helper()
	s.Kubectl("-n", system, "rollout", "restart", workload)
	s.ready(workload)
}

func (s life) ready(workload string) {
	s.Helper()
	s.Kubectl("-n", system, "rollout", "status", workload, "--timeout=120s")
}

func (s life) withoutAPIServer() {
	s.Helper()
	s.Sandbox("stop-apiserver")
	time.Sleep(time.Duration(times(60, 10)) * time.Second) // so long requests go on
	start := s.SandboxCommand("start-apiserver")
	if err := start.Start(); err != nil {
		s.Fatal(err)
	}
	served := s.edit()
	answers := time.Now()
	served()
	s.within(7*time.Second, "what is written to the API server that is back is served", time.Since(answers))
	if err := start.Wait(); err != nil {
		s.Fatalf("start-apiserver: %v", err)
	}
	s.Sandbox("wait")
	s.ready("deployment/cilium-operator")
	// Kubernetes itself takes longer to see again what is there.
	s.Eventually("every backend is in its Service", func() error {
		ready := s.Kubectl("get", "endpointslices", "-l", "kubernetes.io/service-name in (web, fortio)", "-o", "jsonpath={.items[*].endpoints[*].conditions.ready}")
		return equal(ready, "true true true true")
	})
}
