package mesh

import (
	"strings"
	"testing"
	"time"
)

const (
	system   = "kube-system"
	restarts = `jsonpath={range .items[*]}{.metadata.name}={.status.containerStatuses[0].restartCount} {end}`
)

// Parts of the mesh end, are replaced, and begin again: no request fails.
func TestRestarts(t *testing.T) {
	s := newSite(t)
	for _, r := range []struct {
		name string
		pods bool // traffic of pods goes on, too
		do   func(*site)
	}{
		{"agent killed", true, func(s *site) { s.killed("daemonset/cilium", "k8s-app=cilium", "/usr/bin/waggle agent") }},
		{"operator killed", true, func(s *site) {
			s.killed("deployment/cilium-operator", "io.cilium/app=operator", "/usr/bin/waggle operator")
		}},
		{"agent rolled out", true, func(s *site) { s.rolledOut("daemonset/cilium") }},
		{"operator rolled out", true, func(s *site) { s.rolledOut("deployment/cilium-operator") }},
		{"Envoy rolled out", true, func(s *site) { s.rolledOut("daemonset/cilium-envoy") }},
		{"API server away", false, (*site).withoutAPIServer},
	} {
		t.Run(r.name, func(t *testing.T) {
			s := s.on(t)
			traffic := s.begin(r.pods)
			for range times(20, 1) {
				r.do(s)
			}
			traffic.unharmed()
		})
	}
}

// An Envoy that crashes takes its connections with it, and is back within two
// seconds.
func TestEnvoyCrash(t *testing.T) {
	s := newSite(t)
	for range times(20, 2) {
		traffic := s.begin(true)
		for _, node := range s.Nodes() {
			s.Kill(node, "/usr/bin/envoy ")
		}
		s.recovered(traffic, 2*time.Second)
	}
}

// on is the site for a part of the test.
func (s *site) on(t *testing.T) *site {
	c := *s.Test
	c.T = t
	return &site{&c, s.address, s.pod.On(&c)}
}

// killed ends a workload's programs on all nodes without warning, and waits until
// they have been started again.
func (s *site) killed(workload, label, command string) {
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

func (s *site) rolledOut(workload string) {
	s.Helper()
	s.Kubectl("-n", system, "rollout", "restart", workload)
	s.ready(workload)
}

func (s *site) ready(workload string) {
	s.Helper()
	s.Kubectl("-n", system, "rollout", "status", workload, "--timeout=120s")
}

func (s *site) withoutAPIServer() {
	s.Helper()
	s.Sandbox("stop-apiserver")
	time.Sleep(time.Duration(times(60, 10)) * time.Second) // so long requests go on
	s.Sandbox("start-apiserver")
	s.Sandbox("wait")
	s.ready("deployment/cilium-operator")
}
