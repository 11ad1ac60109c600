package gateway

import (
	"fmt"
	"strings"

	"github.com/waggle-mesh/waggle/test/bench/cluster"
	"github.com/waggle-mesh/waggle/test/bench/measure"
)

// Targets of many routes.
const (
	mostCores    = 0.02 // above rest
	mostOperator = 300  // MiB
	mostAgent    = 120
	mostPerRoute = 45 // KB of Envoy's
	flat         = 1.5
)

func (o Options) reportScale(page *measure.Page, r *scale) {
	few, many := r.few.cores()-r.fewIdle.cores(), r.many.cores()-r.idle.cores()
	target := func(what, want, measured string, met bool) {
		page.Add(measure.Target{What: what, Want: want, Measured: measured, Met: met})
	}
	mib := func(m measure.Memory) float64 { return float64(m.Resident) / (1 << 20) }
	perRoute := float64(r.memory["Envoy"].Own-r.emptyEnvoy.Own) / float64(o.Routes) / 1024
	target(fmt.Sprintf("churn among %d routes: operator and agent, above rest", o.Routes), fmt.Sprintf("≤ %.2f cores", mostCores), fmt.Sprintf("%.4f cores", many), many <= mostCores)
	target(fmt.Sprintf("the same from %d to %d routes", r.fewRoutes, o.Routes), fmt.Sprintf("flat (≤ %.1f ×)", flat),
		fmt.Sprintf("%.2f × (%.4f to %.4f cores)", many/few, few, many), many <= flat*few)
	target(fmt.Sprintf("%s at rest with %d routes: writes to the API server", o.Idle, o.Routes), "0", fmt.Sprint(cluster.Total(r.idle.writes)), cluster.Total(r.idle.writes) == 0)
	target("the same: pushes to Envoy", "0", fmt.Sprint(r.idle.pushes), r.idle.pushes == 0)
	target("operator restarted: writes to the API server", "0", fmt.Sprint(cluster.Total(r.operator.writes)), cluster.Total(r.operator.writes) == 0)
	for _, when := range []struct {
		name   string
		memory map[string]measure.Memory
	}{{"", r.memory}, {", after a restart", r.restarted}} {
		target(fmt.Sprintf("operator's memory with %d routes%s", o.Routes, when.name), fmt.Sprintf("≤ %d MiB", mostOperator),
			fmt.Sprintf("%.0f MiB", mib(when.memory["operator"])), mib(when.memory["operator"]) <= mostOperator)
		target("agent's memory"+when.name, fmt.Sprintf("≤ %d MiB", mostAgent), fmt.Sprintf("%.0f MiB", mib(when.memory["agent"])), mib(when.memory["agent"]) <= mostAgent)
	}
	target("Envoy's memory per route", fmt.Sprintf("≤ %d KB", mostPerRoute), fmt.Sprintf("%.1f KB", perRoute), perRoute <= mostPerRoute)
	page.Section("Many routes")
	page.Textf("Each route has a host, two rules, and a Service and an EndpointSlice of its own. CPU is that of the processes' threads, as the kernel's scheduler counts it. Churn is a route edited each second and a Service's backend replaced every 2 s, at rest nothing is. " +
		"Writes are what operator and agent ask the API server to write, by its own log, without renewals of Leases; pushes are updates of listeners, clusters, route tables and scopes, as Envoy counts them. " +
		"A restart is measured until nothing has anything to do any more. Memory is resident at rest; Envoy's per route is the growth of its anonymous pages from no route.")
	var rows [][]string
	row := func(name string, u use, rest string) {
		seconds := func(process string) string { return fmt.Sprintf("%.2f s", u.cpu[process].Seconds()) }
		rows = append(rows, []string{name, fmt.Sprintf("%.0f s", u.took.Seconds()), fmt.Sprint(u.changes), seconds("operator"), seconds("agent"), seconds("Envoy"),
			fmt.Sprintf("%.4f", u.cores()), fmt.Sprint(cluster.Total(u.writes)), fmt.Sprint(u.pushes), rest})
	}
	row(fmt.Sprintf("rest, %d routes", r.fewRoutes), r.fewIdle, "")
	row(fmt.Sprintf("churn, %d routes", r.fewRoutes), r.few, "")
	row(fmt.Sprintf("%d routes filed", o.Routes-r.fewRoutes), r.growing, "")
	row(fmt.Sprintf("rest, %d routes", o.Routes), r.idle, "")
	row(fmt.Sprintf("churn, %d routes", o.Routes), r.many, "")
	row("operator restarted", r.operator.use, fmt.Sprintf("%.1f s", r.operator.ready.Seconds()))
	row("agent restarted", r.agent.use, fmt.Sprintf("%.1f s", r.agent.ready.Seconds()))
	page.Table([]string{"", "took", "changes", "operator's CPU", "agent's CPU", "Envoy's CPU", "operator and agent, cores", "writes", "pushes", "ready after"}, rows)
	rows = nil
	for _, name := range []string{"operator", "agent", "Envoy"} {
		m, again := r.memory[name], r.restarted[name]
		f := func(bytes int64) string { return fmt.Sprintf("%.0f MiB", float64(bytes)/(1<<20)) }
		rows = append(rows, []string{name, f(m.Resident), f(m.Peak), f(again.Resident), f(again.Peak)})
	}
	page.Table([]string{"", "resident", "peak", "after the restarts", "peak"}, rows)
	var said []string
	for name, u := range map[string]use{"at rest": r.idle, "when the operator restarted": r.operator.use, "when the agent restarted": r.agent.use} {
		if len(u.writes) > 0 {
			said = append(said, fmt.Sprintf("Written %s: %s.", name, cluster.Describe(u.writes)))
		}
	}
	if len(said) > 0 {
		page.Textf("%s", strings.Join(said, " "))
	}
}
