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
