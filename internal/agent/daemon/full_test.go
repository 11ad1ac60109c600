package daemon

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/ask"
	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
)

// TestFullMaps: what has no room is refused, and that shows; what is there is
// not touched, and room is used as soon as there is some.
func TestFullMaps(t *testing.T) {
	g := newGround(t)
	g.node(both)
	g.settings.Sizes = datapath.Sizes{Frontends: 3, Endpoints: 4} // two pods of two families
	g.start(g.settings).ready()
	path := func(i int) string { return fmt.Sprintf("/api/v1/namespaces/default/services/s%d", i) }
	service := func(i int) {
		ip := fmt.Sprintf("10.96.0.%d", i)
		g.Put(path(i), kubetest.Object{"spec": kubetest.Object{
			"clusterIP": ip, "clusterIPs": []any{ip}, "ports": []any{kubetest.Object{"port": 80, "protocol": "TCP"}}}})
	}
	failing := func(output string) func(*Status) bool {
		return func(s *Status) bool {
			for _, f := range s.Failing {
				if f.Output == output && strings.Contains(f.Error, "the map is full with ") {
					return !s.OK()
				}
			}
			return false
		}
	}
	for i := range 3 {
		service(i)
		g.serves(fmt.Sprintf("10.96.0.%d:80/TCP", i))
	}
	service(3)
	g.until("a frontend too many is told of", failing("frontends"))
	g.until("the map is shown to be full", func(s *Status) bool {
		for _, m := range s.Maps {
			if m.Name == "frontends" {
				return m.Entries == 3 && m.Limit == 3
			}
		}
		return false
	})
	g.measures(`waggle_reconcile_failing{output="frontends"} 1`, `waggle_map_entries{map="frontends"} 3`, `waggle_map_limit{map="frontends"} 3`)
	for i := range 3 {
		g.serves(fmt.Sprintf("10.96.0.%d:80/TCP", i))
	}
	g.Remove(path(1))
	g.serves("10.96.0.3:80/TCP")
	for _, name := range []string{"p1", "p2"} {
		if _, err := g.pod(name); err != nil {
			t.Fatal(err)
		}
	}
	c := g.command("ADD", "p3")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	g.until("a pod too many is told of", failing(endpointsOutput))
	c.Process.Kill() // the runtime has had enough
	c.Wait()
	if _, err := g.plugin("DEL", "p3"); err != nil {
		t.Fatal(err)
	}
	g.until("all is well", (*Status).OK)
}

// measures expects lines among the agent's metrics.
func (g *ground) measures(want ...string) {
	g.t.Helper()
	answer, err := ask.Open(context.Background(), Socket(g.settings.Dir), "/metrics")
	if err != nil {
		g.t.Fatal(err)
	}
	defer answer.Close()
	text, err := io.ReadAll(answer)
	for _, line := range want {
		if err != nil || !strings.Contains(string(text), "\n"+line+"\n") {
			g.t.Errorf("no metric %s, error %v", line, err)
		}
	}
}
