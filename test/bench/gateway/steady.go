package gateway

import (
	"context"
	"net/netip"
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
