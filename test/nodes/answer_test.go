package nodes

import (
	"syscall"
	"testing"
)

// TestEnvoyAway: what a node has said to use is not said any more when its
// Envoy has been away for long, and is again when there is one.
func TestEnvoyAway(t *testing.T) {
	n, _ := configLab(t)
	path := n.example("canary")
	n.answered(path, 1)
	configs := func() int {
		all, _ := n.api.Get("/apis/waggle.io/v1alpha1/envoynodes/" + n.Name)["configs"].([]any)
		return len(all)
	}
	n.envoy.Process.Signal(syscall.SIGTERM)
	<-n.envoy.gone
	n.stopAgent(syscall.SIGKILL) // the next has never heard of an Envoy
	n.startAgent()
	n.eventually("nothing is said to be used", func() bool { return configs() == 0 })
	n.startEnvoy()
	n.answered(path, 1)
}

// TestNothingNewForEnvoy: a generation of an object that changes nothing for Envoy
// is said to be used, too.
func TestNothingNewForEnvoy(t *testing.T) {
	n, _ := configLab(t)
	path := n.example("canary")
	n.answered(path, 1)
	for generation := 2; generation <= 4; generation++ { // the last is written when nothing else happens
		services := map[bool]string{true: "services: [{name: web, ports: [80]}]", false: "services: [{name: web}]"}[generation%2 == 0]
		n.example("canary", "services: [{name: web}]", services)
		n.answered(path, generation)
	}
}
