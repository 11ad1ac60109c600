package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/ask"
	"github.com/waggle-mesh/waggle/internal/cni"
	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/ipam"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/link"
	"github.com/waggle-mesh/waggle/internal/model"
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

	tables   flow.Graph
	in       agent.NodeInputs
	graph    *agent.NodeGraph
	loops    *loops
	turns    ask.Turns
	told     chan func() // for the graph's owner
	waiters  map[string][]*waiter
	restored bool // the links of pods that run are in their table

	self     *corev1.Node // as it was at the start
	pool     *ipam.Pool
	link     *link.Node
	datapath *datapath.Node
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
	if err := a.awaitPodCIDRs(ctx); err != nil {
		return stopped(ctx, err)
	}
	if err := a.open(); err != nil {
		return err
	}
	defer a.link.Close()
	defer a.datapath.Close()
	a.pipeline()
	a.mu.Lock()
	a.owning = true
	a.mu.Unlock()
	parts.Go(a.own)
	parts.Go(func() {
		if err := a.link.Keep(life); err != nil {
			failed <- err
		}
	})
	parts.Go(func() { a.collect(life) })
	for _, l := range a.loops.all {
		parts.Go(func() { l.run(life) })
	}
	err = a.serve(ctx, failed)
	end() // and nobody writes any more, before the next agent may
	parts.Wait()
	return stopped(ctx, err)
}

// stopped leaves out the error of having been told to stop.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// connect prepares the feeds and the tables they write to.
func (a *node) connect() (err error) {
	if a.client, err = kube.Connect(a.options.Kube, a.log); err != nil {
		return err
	}
	a.feeds = kube.NewFeeds(a.client, a.log)
	a.in = agent.NewNodeInputs(&a.tables)
	everything := kube.Selection{}
	a.sources.nodes = kube.Feed(a.feeds, kube.Nodes, kube.Table[*corev1.Node](a.in.Nodes), everything)
	kube.Feed(a.feeds, kube.Pods, kube.Table[*corev1.Pod](a.in.Pods), kube.Selection{Fields: "spec.nodeName=" + a.options.Node})
	kube.Feed(a.feeds, kube.Namespaces, kube.Table[*corev1.Namespace](a.in.Namespaces), everything)
	kube.Feed(a.feeds, kube.Services, kube.Table[*corev1.Service](a.in.Services), everything)
	kube.Feed(a.feeds, kube.EndpointSlices, kube.Table[*discoveryv1.EndpointSlice](a.in.EndpointSlices), everything)
	a.sources.identities = kube.Feed(a.feeds, kube.Identities, kube.Table[*ciliumv2.CiliumIdentity](a.in.Identities), everything)
	a.sources.endpoints = kube.Feed(a.feeds, kube.Endpoints, kube.Table[*ciliumv2.CiliumEndpoint](a.in.Endpoints), everything)
	return nil
}

// answer opens the socket of the commands.
func (a *node) answer(life context.Context, parts *sync.WaitGroup, failed chan<- error) error {
	socket, err := ask.Listen(Socket(a.options.StateDir))
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	a.questions(mux)
	ask.Debug(life, mux, a.turns, &a.tables, a.metrics()...)
	parts.Go(func() {
		if err := ask.Serve(life, socket, mux); err != nil {
			failed <- err
		}
	})
	return nil
}

// awaitPodCIDRs waits until the node has ranges for its pods.
func (a *node) awaitPodCIDRs(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for told := ""; ; {
		waiting := "for the API server to tell of node " + a.options.Node
		if self, ok := a.sources.nodes.Newest(model.Name{Name: a.options.Node}); ok {
			a.self = self
			if len(agent.PodCIDRs(self)) > 0 {
				return nil
			}
			waiting = "for spec.podCIDRs of node " + a.options.Node + ": is the controller manager run with --allocate-node-cidrs?"
		}
		if waiting != told {
			a.log.Info("waiting " + waiting)
			a.enter(Phase{Waiting: waiting})
			told = waiting
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// open takes over, or makes, what is on the node.
func (a *node) open() (err error) {
	a.enter(Phase{Waiting: "for the data path to load"})
	cidrs := agent.PodCIDRs(a.self)
	if a.pool, err = ipam.New(cidrs); err != nil {
		return fmt.Errorf("use spec.podCIDRs of node %s: %w", a.options.Node, err)
	}
	addresses := nodeAddresses(a.self)
	a.link, err = link.Open(link.Options{
		Addresses: addresses, Uplink: a.options.Uplink, Routers: a.pool.Routers(), PodCIDRs: cidrs, Ingress: a.pool.Ingress(), Log: a.log,
	})
	if err != nil {
		return err
	}
	if err := a.link.Prepare(); err != nil {
		return fmt.Errorf("prepare the node's network: %w", err)
	}
	o := datapath.Options{
		BPFFS: a.options.BPFFS, Cgroup: cmp.Or(a.options.Cgroup, hostCgroup()), Uplink: a.link.Uplink().Name, Addresses: addresses, Sizes: a.options.Sizes,
	}
	for _, ip := range slices.Backward(addresses) {
		if ip.Is4() {
			o.IPv4 = ip
		} else {
			o.IPv6 = ip
		}
	}
	a.datapath, err = datapath.Open(o)
	return err
}

// nodeAddresses are those that other nodes know, the first of a family first.
func nodeAddresses(self *corev1.Node) (out []netip.Addr) {
	for _, a := range self.Status.Addresses {
		if ip, err := netip.ParseAddr(a.Address); err == nil && a.Type == corev1.NodeInternalIP {
			out = append(out, ip.Unmap())
		}
	}
	return out
}

// endpointsOutput is the name of the Output of PodEndpoints.
const endpointsOutput = "endpoints"

// pipeline makes the graph and ties it to the world.
func (a *node) pipeline() {
	of := func(choose func(*ipam.Pool) []netip.Addr) func(netip.Prefix) netip.Addr {
		return func(cidr netip.Prefix) netip.Addr {
			if pool, err := ipam.New([]netip.Prefix{cidr}); err == nil {
				return choose(pool)[0]
			}
			return netip.Addr{}
		}
	}
	a.graph = agent.NewNode(&a.tables, a.in, agent.NodeSettings{
		Node: a.options.Node, Cluster: a.options.Cluster,
		Router: of((*ipam.Pool).Routers), Ingress: of((*ipam.Pool).Ingress),
	})
	add(a, "backend sets", a.graph.BackendSets, a.datapath.BackendSets(), nil)
	add(a, "frontends", a.graph.Frontends, a.datapath.Frontends(), nil) // refer to sets
	add(a, "ipcache", a.graph.IPIdentities, a.datapath.Identities(), nil)
	add(a, endpointsOutput, a.graph.PodEndpoints, endpointMap{a.datapath.Endpoints()}, a.endpointWritten)
	add(a, "verdicts", a.graph.Verdicts, a.datapath.Verdicts(), nil)
	add(a, "routes", a.graph.Routes, a.link.Routes(), nil)
	add(a, "CiliumIdentities", a.graph.Requests, identities{client: a.client, source: a.sources.identities}, nil)
	add(a, "CiliumEndpoints", a.graph.EndpointObjects, endpointObjects(a.client, a.sources.endpoints, a.self), nil)
	add(a, "node annotations", a.graph.Annotations, annotations{client: a.client}, nil)
	add(a, "warnings", a.graph.Unsupported, warnings{client: a.client}, nil)
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
	if err := a.catchUp(ctx); err != nil {
		return err
	}
	if err := a.datapath.Commit(); err != nil {
		return err
	}
	if err := installation.Install(); err != nil {
		return err
	}
	a.enter(Phase{})
	a.log.Info("pods can start", "node", a.options.Node, "pods", len(a.cni.Endpoints()), "podCIDRs", agent.PodCIDRs(a.self))
	serving, end := context.WithCancel(ctx)
	defer end()
	done := make(chan error, 1)
	go func() { done <- a.cni.Serve(serving) }()
	select {
	case err = <-done:
		return err
	case err = <-failed:
	}
	end()
	return errors.Join(err, <-done)
}

// restore finds the pods that run.
func (a *node) restore(ctx context.Context) error {
	a.enter(Phase{Waiting: "for the pods that run to be found"})
	if err := a.cni.Recover(ctx); err != nil {
		return fmt.Errorf("recover the pods of an earlier agent: %w", err)
	}
	all := a.cni.Endpoints()
	for _, e := range all {
		if err := a.datapath.AttachPod(e.Index); err != nil {
			return fmt.Errorf("attach programs to pod %s: %w", e.Pod, err)
		}
	}
	ok := a.turns.Take(ctx, func() {
		for _, e := range all {
			e.Identity = 0
			a.in.Links.Set(e)
		}
		a.restored = true
	})
	if !ok {
		return ctx.Err()
	}
	return nil
}

// catchUp waits until every Output has seen every row.
func (a *node) catchUp(ctx context.Context) error {
	for _, l := range a.loops.all {
		a.enter(Phase{Waiting: "for " + l.name + " to be written"})
		select {
		case <-l.passed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// own is the goroutine that owns the graph: it drains what came in, commits,
// and by that hands it on. What comes meanwhile is merged by waiting.
func (a *node) own() {
	synced := false
	for {
		a.feeds.Apply()
		if err := a.tables.Commit(); err != nil {
			a.log.Error("please report this mistake of Waggle's", "error", err)
		}
		if !synced && a.restored && a.feeds.Synced() {
			synced = true
			a.loops.begin(a.life)
		}
		select {
		case <-a.life.Done():
			return
		case <-a.feeds.Wake():
		case f := <-a.told:
			f()
		case f := <-a.turns:
			f()
		}
	}
}

// collectEvery is how often connections that ended are removed.
const collectEvery = 30 * time.Second

// collect removes connections that ended.
func (a *node) collect(ctx context.Context) {
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, err := a.datapath.Collect(); err != nil {
			a.log.Warn("collect connections that ended", "error", err)
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
