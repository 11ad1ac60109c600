package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/internal/datapath/redirect"
	"github.com/waggle-mesh/waggle/internal/envoy"
	"github.com/waggle-mesh/waggle/internal/xds"
)

// Times by which Envoys give way to each other. DrainTime is Envoy's own, its
// flag --drain-time-s; Limit how long the old one lives at most.
const (
	DrainTime = 5 * time.Second
	Limit     = 30 * time.Second
)

// Options say what the node has, and where things are.
type Options struct {
	Node4, Node6       netip.Addr // invalid: the node has not that family
	Ingress4, Ingress6 netip.Addr
	// CgroupRoot is where the node's cgroup2 root is mounted.
	CgroupRoot string
	// Dir has the sockets that Envoys need, and nothing else. NumbersFile is
	// where the listeners' numbers are kept.
	Dir, NumbersFile string
	// Sockmap hands data between pods and Envoy from socket to socket.
	Sockmap bool
	// UID is the user that Envoy runs as, and may use the sockets besides
	// root.
	UID int
	// Within calls a function in the node's network namespace. Nil: the
	// process is in it.
	Within func(func() error) error
	// Event tells the node's user what the log alone should not know. Nil:
	// it is logged.
	Event func(reason, message string)
	Log   *slog.Logger
}

// XDSSocket is where Envoys get their resources, in the folder Dir.
func XDSSocket(dir string) string { return filepath.Join(dir, "xds.sock") }

// stopSocket is where they ask whether they may end.
func stopSocket(dir string) string { return filepath.Join(dir, "stop.sock") }

// Proxy serves the Envoys of a node.
type Proxy struct {
	*xds.Server

	o           Options
	log         *slog.Logger
	kernel      *redirect.Proxy
	numbers     *redirect.Numbers
	generations *envoy.Generations
	own         string // this process's cgroup

	mu      sync.Mutex
	cgroups map[uint16]string // of Envoys that have arrived, by base
}

// Open finds the Envoys that an earlier agent has served. It changes nothing
// for them before Run.
func Open(n *datapath.Node, o Options) (*Proxy, error) {
	if o.Within == nil {
		o.Within = func(f func() error) error { return f() }
	}
	if o.Event == nil {
		o.Event = func(reason, message string) { o.Log.Warn(message, "reason", reason) }
	}
	p := &Proxy{Server: xds.NewServer(o.Log), o: o, log: o.Log, cgroups: map[uint16]string{}}
	var err error
	if p.numbers, err = redirect.OpenNumbers(o.NumbersFile); err != nil {
		return nil, err
	}
	if p.own, err = xds.CgroupOf(os.Getpid()); err != nil {
		p.own = "" // the root, where no peer is
	}
	err = o.Within(func() (err error) {
		p.kernel, err = redirect.Open(n, redirect.Options{
			Node4: o.Node4, Node6: o.Node6, Ingress4: o.Ingress4, Ingress6: o.Ingress6, CgroupRoot: o.CgroupRoot, Sockmap: o.Sockmap,
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	p.generations = envoy.NewGenerations(p.generationsOptions(), o.Log)
	p.OnArrival(p.arrived)
	return p, nil
}

func (p *Proxy) generationsOptions() envoy.GenerationsOptions {
	return envoy.GenerationsOptions{
		Active: func() (current, previous uint16, err error) {
			a, err := p.kernel.Active()
			return a.Current, a.Previous, err
		},
		SetActive: func(current, previous uint16) error {
			return p.kernel.SetActive(redirect.Active{Current: current, Previous: previous})
		},
		Served: p.served, Acknowledged: p.acknowledged, Covers: p.kernel.Covers,
		Admin: func(process *os.Process) *envoy.Admin { return envoy.NewAdmin(adminSocket(process.Pid)) },
		Event: p.o.Event, DrainTime: DrainTime, Limit: Limit,
	}
}

// Run leads connections to the node's Envoys and serves them until ctx ends.
// It is called after the data path's Commit. What it has made works on.
func (p *Proxy) Run(ctx context.Context) error {
	if err := p.o.Within(p.kernel.Start); err != nil {
		return err
	}
	lis, err := xds.Listen(XDSSocket(p.o.Dir))
	if err != nil {
		return err
	}
	stop, err := xds.Listen(stopSocket(p.o.Dir))
	if err != nil {
		return errors.Join(err, lis.Close())
	}
	if err := p.admit(); err != nil {
		return errors.Join(err, lis.Close(), stop.Close())
	}
	ctx, end := context.WithCancel(ctx)
	var parts sync.WaitGroup
	failed := make(chan error, 3)
	part := func(f func() error) {
		parts.Go(func() {
			failed <- f()
			end() // none goes on without the others
		})
	}
	part(func() error { return p.Serve(ctx, lis) })
	part(func() error { return p.answerStops(ctx, stop) })
	part(func() error { return p.generations.Run(ctx) })
	parts.Wait()
	end()
	close(failed)
	for one := range failed {
		err = errors.Join(err, one)
	}
	return err
}

// admit lets Envoy's user reach the sockets, and its container's root, which
// asks when Envoy may end and has no rights beyond its own files'.
func (p *Proxy) admit() error {
	if p.o.UID == 0 {
		return nil
	}
	for _, path := range []string{p.o.Dir, XDSSocket(p.o.Dir), stopSocket(p.o.Dir)} {
		if err := os.Chown(path, p.o.UID, 0); err != nil {
			return fmt.Errorf("let Envoy's user use the agent's sockets: %w", err)
		}
	}
	if err := os.Chmod(p.o.Dir, 0o710); err != nil {
		return fmt.Errorf("let Envoy's group use the agent's sockets: %w", err)
	}
	return nil
}

// arrived makes a peer of the xDS socket an Envoy that is served.
func (p *Proxy) arrived(peer xds.Peer) (xds.Welcome, error) {
	if peer.Cgroup == p.own {
		return xds.Welcome{}, fmt.Errorf("process %d is in the agent's own cgroup: Envoy needs one of its own", peer.Process.Pid)
	}
	var base uint16
	err := p.o.Within(func() (err error) {
		base, err = p.kernel.Attach(peer.Cgroup)
		return err
	})
	if err != nil {
		return xds.Welcome{}, err
	}
	p.mu.Lock()
	p.cgroups[base] = peer.Cgroup
	p.mu.Unlock()
	return xds.Welcome{PortShift: base}, p.generations.Arrived(base, peer.Process)
}

func (p *Proxy) served() (bases []uint16, err error) {
	all, err := p.kernel.Generations()
	for _, g := range all {
		bases = append(bases, g.Base)
	}
	return bases, err
}

func (p *Proxy) acknowledged(base uint16) bool {
	p.mu.Lock()
	cgroup := p.cgroups[base]
	p.mu.Unlock()
	return cgroup != "" && p.Acknowledged(cgroup)
}

// adminSocket finds an Envoy's admin socket beside its bootstrap, by the path
// that Envoy itself has for both.
func adminSocket(pid int) string {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	for arg := range strings.SplitSeq(string(line), "\x00") {
		if filepath.Base(arg) == Bootstrap {
			return filepath.Join(fmt.Sprintf("/proc/%d/root", pid), filepath.Dir(arg), Admin)
		}
	}
	return fmt.Sprintf("/proc/%d/root/nowhere", pid)
}

// Names of files in a folder of Envoy's own, where an agent looks for them.
const (
	Bootstrap = "bootstrap.json"
	Admin     = "admin.sock"
)

// Envoys are those that live, in the order of their bases.
func (p *Proxy) Envoys() []envoy.Standing { return p.generations.Envoys() }

// Known are the numbers of the listeners that an earlier agent had, and this
// one has not yet been told of.
func (p *Proxy) Known() map[string]uint16 { return p.numbers.Known() }

// Number gives listeners their numbers, and takes back those of all others.
// Listeners that get none are missing, with redirect.ErrPortsExhausted.
func (p *Proxy) Number(listeners []string) (map[string]uint16, error) {
	var ports map[uint16]bool
	err := p.o.Within(func() (err error) {
		ports, err = p.kernel.ListeningPorts()
		return err
	})
	if err != nil {
		return nil, err
	}
	return p.numbers.Assign(listeners, func(port uint16) bool { return ports[port] })
}

// Alive are the numbers of the listeners that get connections now, in all
// families of the node.
func (p *Proxy) Alive() (map[uint16]bool, error) {
	active, err := p.kernel.Active()
	if err != nil {
		return nil, err
	}
	out := map[uint16]bool{}
	for _, base := range []uint16{active.Current, active.Previous} {
		if base == 0 {
			continue
		}
		listening, err := p.kernel.Listening(base)
		if err != nil {
			return nil, err
		}
		for k, f := range listening {
			if p.o.Ingress4.IsValid() && !f.IPv4 || p.o.Ingress6.IsValid() && !f.IPv6 {
				continue
			}
			out[k] = true
		}
	}
	return out, nil
}
