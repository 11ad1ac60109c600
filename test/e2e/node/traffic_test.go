package node

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/test/e2e"
)

// Each load makes this many requests a second, the kept ones on that many
// connections.
const (
	rate        = 10
	connections = 5
)

// traffic is requests of every kind that go on while the test does something to
// the agents or to the backends.
type traffic struct {
	lasting bool
	loads   []*load
}

type load struct {
	name string
	kept bool
	*e2e.Load
}

// begin starts it: pods on every node, a node's process and the client outside
// ask the Service busy, and a pod asks the world outside; on new connections and
// on kept ones, with TCP and UDP, in every family. Lasting tells that the
// backends will not end.
func begin(c *e2e.Test, lasting bool) *traffic {
	c.Helper()
	t := &traffic{lasting: lasting}
	nodes := c.Nodes()
	pod, other := c.Client(nodes[0]), c.Client(nodes[1])
	t.add("pod to name", other, "http://busy", false)
	ports := strings.Fields(c.Get("service/busy", "{.spec.ports[*].nodePort}"))
	for i, ip := range strings.Fields(c.Get("service/busy", "{.spec.clusterIPs[*]}")) {
		clusterIP, nodeIP := e2e.HostPort(ip, "80"), c.NodeIPs(nodes[1])[i]
		t.add("node to ClusterIP", c.From(nodes[0]), "http://"+clusterIP, false)
		t.all("pod to ClusterIP", pod, clusterIP, clusterIP)
		t.all("outside to NodePort", c.From("ext"), e2e.HostPort(nodeIP, ports[0]), e2e.HostPort(nodeIP, ports[1]))
	}
	world := e2e.HostPort(c.World(), "8080")
	t.all("pod to world", other, world, world)
	return t
}

func (t *traffic) all(name string, from *e2e.Source, tcp, udp string) {
	for _, kept := range []bool{false, true} {
		t.add(name, from, "http://"+tcp, kept)
		t.add(name, from, "udp://"+udp, kept)
	}
}

func (t *traffic) add(name string, from *e2e.Source, url string, kept bool) {
	name += ", " + url
	if kept {
		name += ", kept"
	}
	// HTTP/2, for a client of HTTP/1 leaves connections without need when it is
	// slow; HTTP/1 where servers end, for Go's ends HTTP/2 without warning.
	request := e2e.Request{URL: url, Rate: rate, Workers: connections, KeepAlive: kept, HTTP2: kept && t.lasting}
	t.loads = append(t.loads, &load{name, kept, from.Load(request)})
}

// end stops it and expects that no request has failed, and, if the backends
// lasted, that no connection was made anew.
func (t *traffic) end(c *e2e.Test) {
	c.Helper()
	total := 0
	for _, l := range t.loads {
		rs := l.Stop()
		total += len(rs)
		failed := rs.Failures()
		if len(failed) > 0 {
			c.Errorf("%s: %d of %d requests failed:\n%s", l.name, len(failed), len(rs), failed)
		}
		if len(rs) < 5*rate {
			c.Errorf("%s: only %d requests", l.name, len(rs))
		}
		sockets := map[string]bool{}
		for _, r := range rs {
			sockets[r.Local] = true
		}
		if l.kept && t.lasting && len(sockets) > connections {
			c.Errorf("%s: %d connections broke", l.name, len(sockets)-connections)
		}
	}
	c.Logf("%d requests by %d loads", total, len(t.loads))
}

// times is what a test does so often: in "make e2e-node-long", or otherwise.
func times(long, short int) int {
	if isLong {
		return long
	}
	return short
}

// busy is the Service that the traffic asks, with so many backends.
func busy(t *testing.T, backends int) *e2e.Test {
	c := e2e.New(t)
	c.Apply("testdata/busy.yaml")
	c.Kubectl("scale", "deployment/busy", fmt.Sprintf("--replicas=%d", backends))
	c.Wait("deployment/busy", "Available")
	c.Eventually("all backends", func() error {
		if n := c.Get("deployment/busy", "{.status.readyReplicas}"); n != strconv.Itoa(backends) {
			return fmt.Errorf("%s are ready", n)
		}
		return nil
	})
	return c
}
