package mesh

import (
	"os"
	"strings"
	"testing"
	"time"

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
		ends bool // Envoy ends with it
	}{
		{"agent killed", true, func(s life) { s.killed("daemonset/cilium", "k8s-app=cilium", "/usr/bin/waggle agent") }, false},
		{"operator killed", true, func(s life) {
			s.killed("deployment/cilium-operator", "io.cilium/app=operator", "/usr/bin/waggle operator")
		}, false},
		{"agent rolled out", true, func(s life) { s.rolledOut("daemonset/cilium") }, s.envoys == "daemonset/cilium"},
		{"operator rolled out", true, func(s life) { s.rolledOut("deployment/cilium-operator") }, false},
		{"Envoy rolled out", true, func(s life) { s.rolledOut(s.envoys) }, s.envoys == "daemonset/cilium"},
		{"API server away", false, life.withoutAPIServer, false},
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
			if r.ends {
				traffic.Recovered(time.Duration(n) * together)
			} else {
				traffic.Unharmed()
			}
		})
	}
}

// together is how long Envoys that are in the agents' pods may be away when these
// are replaced, which are two at a time.
const together = 60 * time.Second

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
	s.Sandbox("start-apiserver")
	s.Sandbox("wait")
	s.ready("deployment/cilium-operator")
	// Kubernetes itself takes longer to see again what is there.
	s.Eventually("every backend is in its Service", func() error {
		ready := s.Kubectl("get", "endpointslices", "-l", "kubernetes.io/service-name in (web, fortio)", "-o", "jsonpath={.items[*].endpoints[*].conditions.ready}")
		return equal(ready, "true true true true")
	})
}
