package nodes

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestManyConfigs gives a node as many objects as WAGGLE_CONFIGS says, each for a
// Service of its own, and edits some of them: what one edit costs does not
// grow with how many others there are, and a load on another Service does not
// feel them. `make bench-cec` has it print figures for 1,000.
func TestManyConfigs(t *testing.T) {
	number := 40
	if text := os.Getenv("WAGGLE_CONFIGS"); text != "" {
		var err error
		if number, err = strconv.Atoi(text); err != nil || number < 20 {
			t.Fatalf("WAGGLE_CONFIGS is %q", text)
		}
	}
	n, client := configLab(t)
	m := &manyConfigs{n, client}
	load := client.StartLoad(t, LoadRequest{Name: "another Service", URL: url(web4, "/"), Connect: true, Clients: 1, Rate: 50})
	const few = 10
	m.add(0, few)
	before := m.edits()
	agent, envoy := n.agent.Process.Pid, n.status().Envoys[0].PID
	agentBefore, envoyBefore := resident(t, agent), resident(t, envoy)
	start := time.Now()
	m.add(few, number)
	took := time.Since(start)
	after := m.edits()
	r := load.Stop(t)
	t.Logf("%d objects: the last %d were served after %v", number, number-few, took.Round(time.Millisecond))
	t.Logf("memory: agent %d → %d MiB, Envoy %d → %d MiB", agentBefore>>20, resident(t, agent)>>20, envoyBefore>>20, resident(t, envoy)>>20)
	t.Logf("an edit among %d: %v; among %d: %v", few, before, number, after)
	t.Log(r)
	if len(r.Failed) > 0 {
		t.Errorf("%d requests failed, the first: %+v", len(r.Failed), r.Failed[0])
	}
	// With 40 objects noise decides, and nothing can have grown.
	if number >= 500 && after.cpu > 3*before.cpu+10*time.Millisecond {
		t.Errorf("an edit costs %v among %d objects, %v among %d", after.cpu, number, before.cpu, few)
	}
}

// manyConfigs are objects many-0, many-1, … for Services of these names.
type manyConfigs struct {
	*agentNode
	client *Pod
}

func (m *manyConfigs) url(i int) string { return fmt.Sprintf("http://10.96.%d.%d/", 16+i/250, 1+i%250) }

// apply files an object whose answers say which version it is.
func (m *manyConfigs) apply(i, version int) {
	m.api.Put(fmt.Sprintf("/apis/cilium.io/v2/namespaces/default/ciliumenvoyconfigs/many-%d", i), object(m.t, fmt.Sprintf(`
apiVersion: cilium.io/v2
kind: CiliumEnvoyConfig
metadata: {name: many-%[1]d, namespace: default}
spec:
  services: [{name: many-%[1]d}]
  resources:
`+webListener+`  - "@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
    name: web
    response_headers_to_add: [{header: {key: x-version, value: "%[2]d"}}]
    virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: default/web-v1}}]}]
  - {"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: default/web-v1, type: EDS}
`, i, version)))
}

// add makes Services and objects, and waits until Envoy answers for the last.
func (m *manyConfigs) add(from, to int) {
	for i := from; i < to; i++ {
		address := strings.TrimSuffix(strings.TrimPrefix(m.url(i), "http://"), "/")
		m.agentNode.apply(fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: many-%d}
spec: {clusterIP: %s, clusterIPs: [%s], type: ClusterIP, ports: [{name: http, port: 80, protocol: TCP}]}`, i, address, address))
		m.apply(i, 1)
	}
	for i := from; i < to; i++ {
		m.served(i, 1)
	}
}

// served waits until a version answers.
func (m *manyConfigs) served(i, version int) {
	m.t.Helper()
	m.eventually(fmt.Sprintf("version %d of many-%d answers", version, i), func() bool {
		r := m.client.Get(m.t, m.url(i))
		return r.Status == 200 && r.Header.Get("x-version") == strconv.Itoa(version)
	})
}

// editCost is what an edit takes.
type editCost struct {
	median time.Duration // until the answer shows it
	cpu    time.Duration // of the agent, for each
}

func (c editCost) String() string {
	return fmt.Sprintf("%v, %v of the agent's CPU", c.median.Round(time.Millisecond), c.cpu.Round(100*time.Microsecond))
}

// edits changes ten objects, one after the other.
func (m *manyConfigs) edits() editCost {
	const edits = 10
	var took []time.Duration
	before := cpuTime(m.t, m.agent.Process.Pid)
	version := int(time.Now().Unix())
	for i := range edits {
		start := time.Now()
		m.apply(i, version)
		m.served(i, version)
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return editCost{took[edits/2], (cpuTime(m.t, m.agent.Process.Pid) - before) / edits}
}

// cpuTime is what a process has used.
func cpuTime(t *testing.T, pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')'):]) // ")", state, …
	const utime, perSecond = 12, 100
	var ticks int
	for _, f := range fields[utime : utime+2] {
		n, err := strconv.Atoi(string(f))
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / perSecond
}

// resident is the memory that a process has, in bytes.
func resident(t *testing.T, pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
