package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/ask"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/operator"
)

// process is a running operator.
type process struct {
	options  Options
	identity string
	log      *slog.Logger
	started  time.Time
	life     context.Context // of the graph's owner

	client  *kube.Client
	feeds   *kube.Feeds
	sources sources

	tables   flow.Graph
	in       operator.ClusterInputs
	pools    *flow.Table[model.Object[*ciliumv2.CiliumLoadBalancerIPPool]]
	policies *flow.Table[model.Object[kube.AnnouncementPolicy]]
	graph    *operator.Cluster
	loops    *loops
	turns    ask.Turns
	told     chan func()   // for the graph's owner
	synced   chan struct{} // closed when every kind has been read that may be
	leads    atomic.Bool

	removed prometheus.Counter // identities
}

// Run is an operator until ctx ends. An error means that it could not begin.
func Run(ctx context.Context, o Options) error {
	for {
		err := run(ctx, o)
		if !errors.Is(err, kube.ErrLeaderNoMore) {
			return err
		}
		o.Log.Warn("this operator begins anew, as one that waits", "error", err)
	}
}

// run is an operator until ctx ends or another has written: what this one knows
// of its own writes is worth nothing then.
func run(ctx context.Context, o Options) error {
	if err := os.MkdirAll(o.StateDir, 0o700); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	p := &process{
		options: o, identity: o.identity(), log: o.Log, started: time.Now(), loops: newLoops(),
		turns: make(ask.Turns), told: make(chan func(), 64), synced: make(chan struct{}),
		removed: prometheus.NewCounter(prometheus.CounterOpts{Name: "waggle_identities_removed_total", Help: "CiliumIdentities that nobody had any more."}),
	}
	if err := p.connect(); err != nil {
		return err
	}
	p.pipeline()
	// The graph's owner outlives ctx, so that what has begun can end.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	p.life = life
	var parts sync.WaitGroup
	defer parts.Wait()
	defer end()
	serving, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	if err := p.answer(life, &parts, abort); err != nil {
		return err
	}
	parts.Go(func() { p.feeds.Run(life) })
	parts.Go(p.own)
	err := o.election(p.identity).Lead(serving, p.client, p.lead)
	if failure := context.Cause(serving); failure != nil && ctx.Err() == nil {
		return failure
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// answer opens the socket of the commands and the address of probes.
func (p *process) answer(life context.Context, parts *sync.WaitGroup, failed func(error)) error {
	socket, err := ask.Listen(Socket(p.options.StateDir))
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	p.questions(mux)
	ask.Debug(life, mux, p.turns, &p.tables, p.metrics()...)
	serve := func(l net.Listener, answers http.Handler) {
		parts.Go(func() {
			if err := ask.Serve(life, l, answers); err != nil {
				failed(err)
			}
		})
	}
	serve(socket, mux)
	if p.options.Health == "" {
		return nil
	}
	probes, err := net.Listen("tcp", p.options.Health)
	if err != nil {
		return fmt.Errorf("open the address of probes: %w", err)
	}
	mux = http.NewServeMux()
	p.probes(mux)
	serve(probes, mux)
	return nil
}

// own is the goroutine that owns the graph: it drains what came in, commits,
// and by that hands it on. What comes meanwhile is merged by waiting.
func (p *process) own() {
	clock := time.NewTimer(0)
	<-clock.C
	for synced := false; ; {
		p.feeds.Apply()
		clock.Reset(time.Until(p.commit()))
		p.feeds.Committed()
		if p.loops.check(); !synced && p.read() {
			synced = true
			close(p.synced)
		}
		select {
		case <-p.life.Done():
			return
		case <-p.feeds.Wake():
		case f := <-p.told:
			f()
		case f := <-p.turns:
			f()
		case <-clock.C:
		}
	}
}

// read tells whether every kind has been read that may be read.
func (p *process) read() bool {
	return !slices.ContainsFunc(p.feeds.Kinds(), func(k kube.KindStatus) bool { return !k.Synced && !k.Forbidden })
}

// commit brings the graph up to date, and tells until when the clock changes
// nothing.
func (p *process) commit() (until time.Time) {
	for {
		if err := p.tables.Commit(); err != nil {
			p.log.Error("please report this mistake of Waggle's", "error", err)
		}
		until, again := p.graph.Expire(time.Now())
		if !again {
			return until
		}
	}
}

// lead writes until ctx ends, and returns when it has written its last. It is
// called again where nobody else has written since.
func (p *process) lead(ctx context.Context) error {
	p.leads.Store(true)
	defer p.leads.Store(false)
	var parts sync.WaitGroup
	for _, l := range p.loops.all() {
		parts.Go(func() { l.run(ctx) })
	}
	for _, g := range p.loops.groups {
		parts.Go(func() { p.begin(ctx, g) })
	}
	parts.Go(func() { p.collectIdentities(ctx) })
	parts.Wait()
	return nil
}

// tell has the graph's owner call f, some time.
func (p *process) tell(f func()) {
	select {
	case p.told <- f:
	case <-p.life.Done():
	}
}
