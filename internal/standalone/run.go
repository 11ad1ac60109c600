package standalone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/ask"
	"github.com/waggle-mesh/waggle/internal/envoy"
	"github.com/waggle-mesh/waggle/internal/operator"
	"github.com/waggle-mesh/waggle/internal/reconcile"
	"github.com/waggle-mesh/waggle/internal/render"
	"github.com/waggle-mesh/waggle/internal/xds"
)

// Options say what to run and how.
type Options struct {
	Paths    []string // directories and files with manifests
	StateDir string
	Envoy    string // path of the stock Envoy
	// PortOffset is added to every listener's port, 0 to 65534.
	PortOffset int
	// Address is where all Gateways answer. Not valid: each has its own.
	Address     netip.Addr
	Concurrency int // Envoy's worker threads, 0: one per CPU
	RouteTables agent.RouteTables
	Out         io.Writer // for people: the table of listeners
	Log         *slog.Logger
	Version     string
	// Hurry is closed to have Run, once ctx has ended, end at once. Nil: never.
	Hurry <-chan struct{}
}

// stopPatience is how long a graceful end may take.
const stopPatience = 15 * time.Second

// Run serves manifests until ctx ends, and then takes away all it made. An
// error means that it could not begin, or that what it stands on broke.
func Run(ctx context.Context, o Options) error {
	paths, err := envoy.PathsIn(o.StateDir)
	if err != nil {
		return err
	}
	lock, err := envoy.Lock(o.StateDir)
	if err != nil {
		return err
	}
	err = run(ctx, o, paths)
	if failed := lock.Release(); err == nil {
		err = failed
	}
	return err
}

// run is Run with the state directory to itself.
func run(ctx context.Context, o Options, paths envoy.Paths) error {
	m := &mesh{options: o, graph: NewGraph(GraphOptions{PortOffset: o.PortOffset, RouteTables: o.RouteTables}),
		server: xds.NewServer(o.Log), asked: make(ask.Turns), thrift: newThrift(), started: time.Now(), read: true}
	pool, err := newLoopback(paths.Dir, o.Address)
	if err != nil {
		return err
	}
	defer pool.close()
	batch, err := m.graph.feed.Load(o.Paths...)
	if err != nil {
		return err
	}
	batch.Apply()
	socket, err := xds.Listen(paths.XDSSocket)
	if err != nil {
		return err
	}
	defer os.Remove(paths.XDSSocket)
	questions, err := ask.Listen(questionSocket(paths.Dir))
	if err != nil {
		return err
	}
	defer os.Remove(questionSocket(paths.Dir))

	// Everything below lives until the end, which comes after Envoy's: it
	// needs its control plane until it has drained.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	m.life = life
	parts := newParts(ctx)
	defer parts.abort()
	defer parts.Wait()
	defer end()
	parts.add(life, func(ctx context.Context) error { return m.server.Serve(ctx, socket) })
	parts.add(life, func(ctx context.Context) error { return m.answerQuestions(ctx, questions) })
	parts.add(life, func(ctx context.Context) error { return m.own(ctx, pool) })

	proxy, err := envoy.Start(parts.serving, envoy.Options{
		Binary: o.Envoy, StateDir: o.StateDir, Concurrency: o.Concurrency,
		Bootstrap: render.Bootstrap(render.BootstrapOptions{
			NodeID: "waggle", AdminSocket: paths.AdminSocket, XDSSocket: paths.XDSSocket,
		}),
	}, o.Log)
	if err != nil {
		end()
		parts.Wait()
		if parts.serving.Err() != nil { // no error of Envoy's: it was told to stop
			return errors.Join(parts.failure(), pool.remove())
		}
		if !pool.heir { // there is no Envoy to take over that needs them
			err = errors.Join(err, pool.remove())
		}
		return err
	}
	m.proxy.Store(proxy)
	<-parts.serving.Done()
	err = parts.failure()
	o.Log.Info("stopping Envoy; once more to stop at once")
	graceful, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	parts.Go(func() {
		select {
		case <-o.Hurry:
			cancel()
		case <-graceful.Done():
		}
	})
	if stopped := proxy.Stop(graceful); err == nil {
		err = stopped
	}
	cancel()
	end()
	parts.Wait()
	if removed := pool.remove(); err == nil {
		err = removed
	}
	return err
}

// mesh is a running Run.
type mesh struct {
	options Options
	graph   *Graph
	server  *xds.Server
	proxy   atomic.Pointer[envoy.Process] // nil until Envoy has started
	asked   ask.Turns                     // of the graph's owner
	life    context.Context               // of the graph\'s owner
	started time.Time
	thrift  *thrift

	published bool // the first full state has gone out
	read      bool // files have been read since tell
	told      told
}

// own is the goroutine that owns the graph: it drains what came in, commits,
// publishes. What comes meanwhile is merged by waiting.
func (m *mesh) own(ctx context.Context, pool *loopback) error {
	defer m.thrift.end()
	m.graph.feed.OnMany(m.thrift.spend)
	batches, err := m.graph.feed.Watch(ctx)
	if err != nil {
		return fmt.Errorf("watch manifests: %w", err)
	}
	granted := make(chan reconcile.Outcome[operator.Address])
	addresses := reconcile.New(pool, m.options.Log, func(o reconcile.Outcome[operator.Address]) {
		select {
		case granted <- o:
		case <-ctx.Done():
		}
	})
	m.graph.requests.OnChange(pool.requested)
	m.graph.requests.OnChange(addresses.Changed)
	var side sync.WaitGroup
	defer side.Wait()
	side.Go(func() { addresses.Run(ctx) })

	clock := time.NewTimer(0)
	<-clock.C
	for first := true; ; first = false {
		until := m.commit()
		if first {
			addresses.Synced()
		}
		clock.Reset(time.Until(until))
		select {
		case <-ctx.Done():
			return nil
		case batch, open := <-batches:
			if !open {
				batches = nil // the end is near
			}
			batch.Apply()
			m.read = true
		case outcomes := <-m.server.Outcomes():
			m.graph.Outcomes(outcomes)
			m.thrift.heard(len(outcomes))
		case o := <-granted:
			m.granted(o)
		case turn := <-m.asked:
			turn()
		case <-clock.C:
		}
	}
}

// commit brings the graph up to date, Envoy to it, and the user to both.
func (m *mesh) commit() (until time.Time) {
	until, err := m.graph.Commit(time.Now())
	if err != nil {
		m.options.Log.Error("please report this mistake of Waggle's", "error", err)
	}
	if !m.published && !m.graph.Addressed() {
		return until // an Envoy taken over would drop the listeners
	}
	changed, removed := m.graph.Changes()
	if len(changed)+len(removed) > 0 {
		m.server.Update(changed, removed)
	}
	if !m.published {
		m.published = true
		m.thrift.spend()
		m.server.Ready()
	}
	m.tell()
	return until
}

// granted takes note of what became of a request for an address.
func (m *mesh) granted(o reconcile.Outcome[operator.Address]) {
	switch {
	case o.Deleted && o.Err != nil: // it is still taken
	case o.Deleted:
		m.graph.answers.Addresses.Delete(o.RowKey)
	case o.Err != nil:
		m.graph.answers.Addresses.Set(refused(o.Result.Gateway, o.Err))
	default:
		m.graph.answers.Addresses.Set(o.Result)
	}
}

// questionSocket is that of `waggle status`.
func questionSocket(dir string) string { return filepath.Join(dir, "api.sock") }
