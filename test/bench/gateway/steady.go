package gateway

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/waggle-mesh/waggle/test/bench/cluster"
	"github.com/waggle-mesh/waggle/test/bench/measure"
	"github.com/waggle-mesh/waggle/test/nodes"
)

// use is what the processes took over a while.
type use struct {
	took    time.Duration
	cpu     map[string]time.Duration // by process
	writes  map[string]int           // to the API server, see cluster.Writes
	pushes  uint64                   // that Envoy took
	changes int                      // that were made meanwhile
}

// cores are those that operator and agent took together.
func (u use) cores() float64 { return float64(u.cpu["operator"]+u.cpu["agent"]) / float64(u.took) }

// watch measures what do takes, which gives the number of its changes.
func (s *site) watch(do func() (int, error)) (u use, err error) {
	writes, err := s.WatchWrites()
	if err != nil {
		return u, err
	}
	pushesBefore, err := s.pushes()
	if err != nil {
		return u, err
	}
	before := map[int]time.Duration{} // by process: what begins meanwhile counts whole
	for _, pid := range s.processes() {
		if before[pid], err = measure.CPU(pid); err != nil {
			return u, err
		}
	}
	began := time.Now()
	if u.changes, err = do(); err != nil {
		return u, err
	}
	u.took, u.cpu = time.Since(began), map[string]time.Duration{}
	for name, pid := range s.processes() {
		now, err := measure.CPU(pid)
		if err != nil {
			return u, err
		}
		u.cpu[name] = now - before[pid]
	}
	if u.writes, err = writes.Count(); err != nil {
		return u, err
	}
	pushes, err := s.pushes()
	u.pushes = pushes - pushesBefore
	return u, err
}

// pushes are the updates that Envoy has had: of listeners, clusters, route
// tables and scopes.
func (s *site) pushes() (n uint64, err error) {
	all, err := s.Admin().Stats(s.ctx, `update_(success|rejected)$`)
	for _, v := range all {
		n += v
	}
	return n, err
}

func (s *site) sleep(d time.Duration) error {
	select {
	case <-s.ctx.Done():
		return s.ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// stay measures rest.
func (s *site) stay(d time.Duration) (use, error) {
	return s.watch(func() (int, error) { return 0, s.sleep(d) })
}

// change measures churn, with all that follows the last change.
func (s *site) change(d time.Duration) (use, error) {
	return s.watch(func() (int, error) {
		stop := s.churn()
		err := s.sleep(d)
		n, failed := stop()
		if failed != nil {
			return n, failed
		}
		return n, err
	})
}

// restart ends a process and starts it anew, and waits until it is at rest.
func (s *site) restart(p *cluster.Process, start func()) (r restarted, err error) {
	r.use, err = s.watch(func() (int, error) {
		p.Stop()
		began := time.Now()
		start()
		r.ready = time.Since(began)
		return 0, s.rest()
	})
	return r, err
}

type restarted struct {
	use
	ready time.Duration
}

// scale is what was found with many routes.
type scale struct {
	probes     []*series
	fewRoutes  int
	few, many  use // of churn
	fewIdle    use
	idle       use // at rest, with all routes
	operator   restarted
	agent      restarted
	growing    use // while the routes beyond the few were filed
	memory     map[string]measure.Memory
	restarted  map[string]measure.Memory // after the restarts
	emptyEnvoy measure.Memory
}

// atScale measures both parts that need many routes, on one cluster.
func (o Options) atScale(ctx context.Context, put func(string, func(*measure.Page)) error) error {
	r := &scale{fewRoutes: o.Routes / 5}
	err := o.inCluster(ctx, false, func(s *site) error {
		s.addBackends(func(name string) netip.Addr {
			pod := s.AddPod(name)
			pod.Serve(s.T(), nodes.ServeRequest{Address: ":80"})
			return pod.Addr4
		})
		return s.measureScale(r)
	})
	if err != nil {
		return err
	}
	if o.has(probes) {
		if err := put(probes, func(p *measure.Page) { o.reportProbes(p, r.probes) }); err != nil {
			return err
		}
	}
	if o.has(steady) {
		return put(steady, func(p *measure.Page) { o.reportScale(p, r) })
	}
	return nil
}

func (s *site) measureScale(r *scale) (err error) {
	if err := s.rest(); err != nil {
		return err
	}
	if r.emptyEnvoy, err = measure.MemoryOf(s.Envoy.PID()); err != nil {
		return err
	}
	if err := s.probes(r, false); err != nil {
		return err
	}
	if err := s.grow(r.fewRoutes); err != nil {
		return err
	}
	if err := s.probes(r, false, true); err != nil {
		return err
	}
	if s.o.has(steady) {
		if r.fewIdle, err = s.stay(min(s.o.Idle, 30*time.Second)); err != nil {
			return err
		}
		if r.few, err = s.change(s.o.Churn / 2); err != nil {
			return err
		}
		s.o.Progress("churn among %d routes: %.4f cores, %.4f at rest", s.routes, r.few.cores(), r.fewIdle.cores())
	}
	r.growing, err = s.watch(func() (int, error) { return s.o.Routes - r.fewRoutes, s.grow(s.o.Routes) })
	if err != nil {
		return err
	}
	if s.o.has(steady) {
		if err := s.measureSteady(r); err != nil {
			return err
		}
	}
	return s.probes(r, false, true)
}

// probes measures series of new routes, without and with churn.
func (s *site) probes(r *scale, churn ...bool) error {
	if !s.o.has(probes) {
		return nil
	}
	for _, c := range churn {
		one, err := s.probe(c)
		if err != nil {
			return err
		}
		r.probes = append(r.probes, one)
	}
	return nil
}

// measureSteady measures what all routes take: at rest, under churn, and when
// operator and agent begin anew.
func (s *site) measureSteady(r *scale) (err error) {
	if r.memory, err = s.memory(); err != nil {
		return err
	}
	if r.idle, err = s.stay(s.o.Idle); err != nil {
		return err
	}
	s.o.Progress("at rest for %s: %d writes, %d pushes, %.4f cores", r.idle.took.Round(time.Second), cluster.Total(r.idle.writes), r.idle.pushes, r.idle.cores())
	if r.many, err = s.change(s.o.Churn); err != nil {
		return err
	}
	s.o.Progress("churn among %d routes: %.4f cores", s.routes, r.many.cores())
	if err := s.rest(); err != nil {
		return err
	}
	if r.operator, err = s.restart(s.Operator, s.StartOperator); err != nil {
		return err
	}
	s.o.Progress("the operator restarted: ready after %s, %d writes, %s of CPU", r.operator.ready, cluster.Total(r.operator.writes), r.operator.cpu["operator"])
	if r.agent, err = s.restart(s.Agent, s.StartAgent); err != nil {
		return err
	}
	s.o.Progress("the agent restarted: ready after %s, %d writes, %d pushes, %s of CPU", r.agent.ready, cluster.Total(r.agent.writes), r.agent.pushes, r.agent.cpu["agent"])
	r.restarted, err = s.memory()
	return err
}

func (s *site) memory() (map[string]measure.Memory, error) {
	all := map[string]measure.Memory{}
	for name, pid := range s.processes() {
		m, err := measure.MemoryOf(pid)
		if err != nil {
			return nil, err
		}
		all[name] = m
	}
	return all, nil
}

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
