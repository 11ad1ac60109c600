package install

import (
	"fmt"
	"slices"
	"strings"

	"github.com/waggle-mesh/waggle/test/e2e"
)

// state is what is in a cluster: of each node its traces, and all objects.
type state map[string]string

// passing are objects that come and go without Waggle.
var passing = []string{"events", "events.events.k8s.io", "leases.coordination.k8s.io", "pods", "replicasets.apps", "endpointslices.discovery.k8s.io", "controllerrevisions.apps"}

// look waits until the nodes are quiet.
func look(c *e2e.Test) state {
	c.Helper()
	s := state{}
	for _, node := range c.Nodes() {
		c.Eventually("the node has begun", func() error {
			s[node] = c.Traces(node)
			if !strings.Contains(s[node], "KUBE-KUBELET-CANARY") || strings.Contains(s[node], "tentative") {
				return fmt.Errorf("the kubelet or the kernel is not done: %s", s[node])
			}
			return nil
		})
	}
	kinds := slices.DeleteFunc(strings.Fields(c.Kubectl("api-resources", "--verbs=list", "-o", "name")), func(kind string) bool { return slices.Contains(passing, kind) })
	s["objects"] = c.Kubectl("get", strings.Join(kinds, ","), "--all-namespaces", "-o", `go-template={{range .items}}{{.kind}} {{with .metadata.namespace}}{{.}}/{{end}}{{.metadata.name}}{{"\n"}}{{end}}`)
	s["nodes"] = c.Kubectl("get", "nodes", "-o", `go-template={{range .items}}{{range $name, $_ := .metadata.annotations}}{{$name}}{{"\n"}}{{end}}{{end}}`)
	return s
}

// beyond is what there is more than in another state.
func (s state) beyond(other state) string {
	var b strings.Builder
	for where, text := range s {
		if more := e2e.Others(text+"\n", other[where]+"\n"); more != "" {
			fmt.Fprintf(&b, "== %s\n%s", where, more)
		}
	}
	return b.String()
}
