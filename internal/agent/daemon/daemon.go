package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	waggle "github.com/waggle-mesh/waggle/api/waggle.io/v1alpha1"
	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/agent/announcer"
	"github.com/waggle-mesh/waggle/internal/agent/proxy"
	"github.com/waggle-mesh/waggle/internal/ask"
	"github.com/waggle-mesh/waggle/internal/cni"
	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/ipam"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/link"
)

// node is a running agent.
type node struct {
	options Options
	log     *slog.Logger
	started time.Time
	life    context.Context // of the graph's owner

	client  *kube.Client
	feeds   *kube.Feeds
	sources sources

	tables    flow.Graph
	in        agent.NodeInputs
	configs   agent.EnvoyInputs
	graph     *agent.NodeGraph
	envoys    *envoys
	announcer *announcer.Announcer // nil: nothing is announced
	loops     *loops
	turns     ask.Turns
	told      chan func() // for the graph's owner
	waiters   map[string][]*waiter
	restored  bool // the links of pods that run are in their table

	self     *corev1.Node // as it was at the start
	place    agent.Place  // self's
	pool     *ipam.Pool
	link     *link.Node
	datapath *datapath.Node
	proxy    *proxy.Proxy
	cni      *cni.Server

	mu     sync.Mutex
	phase  Phase
	owning bool // the graph has its owner
}

// sources are the feeds that writers look into.
type sources struct {
	nodes      *kube.Source[*corev1.Node]
	identities *kube.Source[*ciliumv2.CiliumIdentity]
	endpoints  *kube.Source[*ciliumv2.CiliumEndpoint]
	envoys     *kube.Source[*waggle.EnvoyNode]
}

// Run is the agent of a node until ctx ends. What it has made stays and works
// on. An error means that it could not begin, or that what it stands on broke.
func Run(ctx context.Context, o Options) error {
	if err := os.MkdirAll(o.StateDir, 0o700); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	a := &node{
		options: o, log: o.Log, started: time.Now(), loops: newLoops(), turns: make(ask.Turns),
		told: make(chan func(), 64), waiters: map[string][]*waiter{},
	}
	if err := a.connect(); err != nil {
		return err
	}
	// The graph's owner and what it is fed by outlive ctx, so that what has
	// begun can end.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	a.life = life
	var parts sync.WaitGroup
	defer parts.Wait()
	defer end()
	parts.Go(func() { a.feeds.Run(life) })

	a.enter(Phase{Waiting: "for the node's other agent to end"})
	held, err := lock(ctx, o.lock(), func(holder string) {
		a.log.Info("another agent has the node; waiting until it ends", "pid", holder)
	})
	if err != nil {
		return stopped(ctx, err)
	}
	defer held.Close()
	failed := make(chan error, 3)
	if err := a.answer(life, &parts, failed); err != nil {
		return err
	}
	if err := a.awaitPlace(ctx); err != nil {
		return stopped(ctx, err)
	}
	if err := a.open(); err != nil {
		return err
	}
	defer a.link.Close()
	defer a.datapath.Close()
	if a.announcer, err = a.announcer.Open(a.datapath, a.link); err != nil {
		return err
	}
	defer a.announcer.Close()
	if err := a.pipeline(); err != nil {
		return err
	}
	a.mu.Lock()
	a.owning = true
	a.mu.Unlock()
	parts.Go(a.own)
	parts.Go(func() {
		if err := a.link.Keep(life); err != nil {
			failed <- err
		}
	})
	parts.Go(func() {
		if err := a.keepPlace(life); err != nil {
			failed <- err
		}
	})
	parts.Go(func() { a.collect(life) })
	for _, l := range a.loops.all {
		parts.Go(func() { l.run(life) })
	}
	parts.Go(func() { a.announcer.Run(life) })
	err = a.serve(ctx, failed)
	end() // and nobody writes any more, before the next agent may
	parts.Wait()
	if a.leaving() {
		a.announcer.Resign()
	}
	return stopped(ctx, err)
}

// leaving tells whether the node is to end as well as its agent: it is cordoned,
// or being deleted. Nobody owns the graph any more.
func (a *node) leaving() bool {
	self, ok := a.in.Nodes.Get(a.options.Node)
	return !ok || self.Value.Spec.Unschedulable || self.Value.DeletionTimestamp != nil
}

// stopped leaves out the error of having been told to stop.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// answer opens the socket of the commands.
func (a *node) answer(life context.Context, parts *sync.WaitGroup, failed chan<- error) error {
	socket, err := ask.Listen(Socket(a.options.StateDir))
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	a.questions(mux)
	a.envoyQuestions(mux)
	ask.Debug(life, mux, a.turns, &a.tables, a.metrics()...)
	parts.Go(func() {
		if err := ask.Serve(life, socket, mux); err != nil {
			failed <- err
		}
	})
	return nil
}

// serve restores what an earlier agent left, waits until the world is like the
// rows, and lets pods start until ctx ends.
func (a *node) serve(ctx context.Context, failed <-chan error) error {
	installation := a.options.CNI
	installation.Socket = a.options.cniSocket()
	var err error
	a.cni, err = cni.Open(ctx, cni.Options{
		Socket: a.options.cniSocket(), State: a.options.cniState(), Addresses: a.pool, Devices: a.link,
		Attach: a.attach, Detach: a.detach, Attached: a.attached, Log: a.log,
	})
	if err != nil {
		return err
	}
	defer a.cni.Close()
	if err := a.restore(ctx); err != nil {
		return err
	}
	for _, lost := range a.options.Families.Lost(a.cni.Endpoints()) {
		a.log.Warn(lost)
	}
	if err := a.catchUp(ctx); err != nil {
		return err
	}
	if err := a.datapath.Commit(); err != nil {
		return err
	}
	if err := a.announcer.Start(a.options.BPFFS); err != nil {
		return err
	}
	if err := installation.Install(); err != nil {
		return err
	}
	a.enter(Phase{})
	a.log.Info("pods can start", "node", a.options.Node, "pods", len(a.cni.Endpoints()), "podCIDRs", a.place.PodCIDRs)
	serving, end := context.WithCancel(ctx)
	defer end()
	done := make(chan error, 2)
	go func() { done <- a.cni.Serve(serving) }()
	go func() { done <- a.serveEnvoys(serving) }()
	running := cap(done)
	select {
	case err = <-done:
		running--
	case err = <-failed:
	}
	end()
	for range running {
		err = errors.Join(err, <-done)
	}
	return err
}

// own is the goroutine that owns the graph: it drains what came in, commits,
// and by that hands it on. What comes meanwhile is merged by waiting.
func (a *node) own() {
	synced := false
	for {
		a.feeds.Apply()
		a.commit()
		a.feeds.Committed()
		switch {
		case synced:
			a.envoys.commit()
		case a.restored && a.unread() == "":
			synced = true
			a.envoys.commit()
			a.loops.begin(a.life)
			a.announcer.Begin()
		}
		select {
		case <-a.life.Done():
			return
		case <-a.feeds.Wake():
		case outcomes := <-a.proxy.Outcomes():
			a.envoys.heard(outcomes)
		case <-a.envoys.lookAgain.C:
		case <-a.envoys.answering.C:
		case f := <-a.told:
			f()
		case f := <-a.turns:
			f()
		}
	}
}

// unread names what the API server has not told yet and the agent cannot begin
// without. What is dispensable and the agent may not read is taken to be empty
// until it may.
func (a *node) unread() string {
	for _, k := range a.feeds.Kinds() {
		switch {
		case k.Synced || k.Forbidden && slices.Contains(dispensable, k.Kind):
		case k.Error != "":
			return k.Kind + " (" + k.Error + ")"
		default:
			return k.Kind
		}
	}
	return ""
}

// dispensable are the kinds that only Envoys and announcements need.
var dispensable = []string{
	kube.EnvoyConfigs.Name(), kube.ClusterwideEnvoyConfigs.Name(), kube.ReferenceGrants.Name(), kube.Secrets.Name(), kube.EnvoyNodes.Name(),
	kube.AnnouncementPolicies.Name(), kube.Leases.Name(),
}

// commit brings the graph up to date.
func (a *node) commit() {
	if err := a.tables.Commit(); err != nil {
		a.log.Error("please report this mistake of Waggle's", "error", err)
	}
}

// collect removes connections that ended, and ends those with UDP backends that
// have left.
func (a *node) collect(ctx context.Context) {
	ended, left := time.NewTicker(30*time.Second), time.NewTicker(time.Second)
	defer ended.Stop()
	defer left.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ended.C:
			if _, err := a.datapath.Collect(); err != nil {
				a.log.Warn("collect connections that ended", "error", err)
			}
		case <-left.C:
			again := time.Second
			if err := a.datapath.ForgetBackends(); err != nil {
				a.log.Warn(err.Error())
				again = 30 * time.Second
			}
			left.Reset(again)
		}
	}
}

// tell has the graph's owner call f, some time.
func (a *node) tell(f func()) {
	select {
	case a.told <- f:
	case <-a.life.Done():
	}
}
