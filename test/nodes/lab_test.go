package nodes

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/internal/datapath/redirect"
	"github.com/waggle-mesh/waggle/internal/envoy"
	"github.com/waggle-mesh/waggle/internal/link"
	"github.com/waggle-mesh/waggle/internal/render"
	"github.com/waggle-mesh/waggle/internal/xds"
)

// lab is a ground whose first node, or both, run the data path and Envoy.
type lab struct {
	*Ground
	n1, n2 *labNode
	// a, c and e are clients, b and d servers; e and d are on n2.
	a, c, b, e, d *Pod

	sockmap bool
}

// Identities of the lab's pods.
const (
	idA, idC, idE = 1001, 1002, 1003
	idB, idD      = 2001, 2002
)

// newLab makes the lab; nothing runs in it but servers at :80 of b and d.
func newLab(t *testing.T) *lab { return newLabWith(t, false) }

func newLabWith(t *testing.T, sockmap bool) *lab {
	g := New(t)
	l := &lab{Ground: g, sockmap: sockmap}
	l.a, l.c, l.b = g.Nodes[0].AddPod(t, "a"), g.Nodes[0].AddPod(t, "c"), g.Nodes[0].AddPod(t, "b")
	l.e, l.d = g.Nodes[1].AddPod(t, "e"), g.Nodes[1].AddPod(t, "d")
	l.b.Serve(t, ServeRequest{Address: ":80"})
	l.d.Serve(t, ServeRequest{Address: ":80"})
	l.n1, l.n2 = newLabNode(t, l, 0), newLabNode(t, l, 1)
	for _, vip := range []netip.Addr{vip4, vip6, plain4, plain6, balanced4, balanced6} {
		g.Client.Do(t, func() error { return route(host(vip), "", l.Nodes[0].Addr(familyOf(vip))) })
	}
	return l
}

func familyOf(a netip.Addr) int {
	if a.Is6() {
		return 6
	}
	return 4
}

// labNode is a node with a data path and an xDS server.
type labNode struct {
	*Node
	t           *testing.T
	sockmap     bool
	path        *datapath.Node
	proxy       *redirect.Proxy
	link        *link.Node
	ads         *xds.Server
	generations *envoy.Generations
	dir         string // short: sockets are in it

	replacing sync.RWMutex // held by openPath, and read by who uses proxy beside the test

	mu      sync.Mutex
	cgroups map[uint16]string // of arrived Envoys, by base
	events  []string
	envoys  int // started so far
}

func newLabNode(t *testing.T, l *lab, i int) *labNode {
	n := &labNode{Node: l.Nodes[i], t: t, sockmap: l.sockmap, cgroups: map[uint16]string{}}
	n.dir = filepath.Join(l.Dir, n.Name)
	n.openLink()
	n.openPath()
	n.loadPods(l)
	n.serveEnvoys()
	return n
}

// must stops the test from a place that cannot return the error.
func (n *labNode) must(doing string, err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatalf("%s: %s: %v", n.Name, doing, err)
	}
}

func (n *labNode) openLink() {
	ns, err := os.Open(n.Namespace())
	n.must("open its namespace", err)
	n.t.Cleanup(func() { ns.Close() })
	n.link, err = link.Open(link.Options{
		Addresses: []netip.Addr{n.Addr4, n.Addr6}, Namespace: ns,
		Routers: []netip.Addr{n.gateway4(), n.PodCIDR6.Addr().Next()}, Ingress: []netip.Addr{n.Ingress4, n.Ingress6},
	})
	n.must("open its network", err)
	n.t.Cleanup(n.link.Close)
	n.must("prepare its network", n.link.Prepare())
}

// openPath starts the agent's data path, or a new one in place of the old.
func (n *labNode) openPath() {
	n.replacing.Lock()
	defer n.replacing.Unlock()
	n.Do(n.t, func() error {
		var err error
		n.path, err = datapath.Open(datapath.Options{
			BPFFS: n.BPFFS, Cgroup: n.Root, Uplink: "eth0", IPv4: n.Addr4, IPv6: n.Addr6,
		})
		if err != nil {
			return err
		}
		if err := n.path.Commit(); err != nil {
			return err
		}
		for _, p := range n.Pods {
			if err := n.path.AttachPod(p.Index); err != nil {
				return err
			}
		}
		n.proxy, err = redirect.Open(n.path, redirect.Options{
			Node4: n.Addr4, Node6: n.Addr6, Ingress4: n.Ingress4, Ingress6: n.Ingress6, Sockmap: n.sockmap,
		})
		if err != nil {
			return err
		}
		return n.proxy.Start()
	})
	path := n.path
	n.t.Cleanup(func() { n.closePath(path) })
}

// closePath ends an agent's data path.
func (n *labNode) closePath(path *datapath.Node) error {
	n.replacing.Lock()
	defer n.replacing.Unlock()
	return path.Close()
}

// withProxy is for those that work beside the test, which may replace it.
func (n *labNode) withProxy(use func(*redirect.Proxy) error) error {
	n.replacing.RLock()
	defer n.replacing.RUnlock()
	return use(n.proxy)
}

// serveEnvoys serves xDS to the node's Envoys and lets them give way to each
// other.
func (n *labNode) serveEnvoys() {
	log := slog.New(slog.NewTextHandler(testLog{n.t, n.Name}, nil))
	n.ads = xds.NewServer(log)
	n.ads.OnArrival(n.arrived)
	lis, err := xds.Listen(filepath.Join(n.dir, "x", "xds.sock"))
	n.must("listen for Envoy", err)
	n.generations = envoy.NewGenerations(envoy.GenerationsOptions{
		Active: func() (current, previous uint16, err error) {
			err = n.withProxy(func(p *redirect.Proxy) error {
				a, err := p.Active()
				current, previous = a.Current, a.Previous
				return err
			})
			return current, previous, err
		},
		SetActive: func(current, previous uint16) error {
			return n.withProxy(func(p *redirect.Proxy) error {
				return p.SetActive(redirect.Active{Current: current, Previous: previous})
			})
		},
		Served: n.served, Acknowledged: n.acknowledged, Covers: n.covers, Admin: adminOf,
		Event: func(reason, _ string) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.events = append(n.events, reason)
		},
		Heir: heir, DrainTime: 3 * time.Second, Limit: 20 * time.Second,
	}, log)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { n.ads.Serve(ctx, lis) })
	running.Go(func() { n.generations.Run(ctx) })
	n.t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

func (n *labNode) arrived(p xds.Peer) (xds.Welcome, error) {
	if !strings.Contains(p.Cgroup, "/envoy-") {
		return xds.Welcome{}, errors.New("this is no Envoy of the lab")
	}
	var base uint16
	err := n.withProxy(func(proxy *redirect.Proxy) error {
		return n.ns.do(func() (err error) {
			base, err = proxy.Attach(p.Cgroup)
			return err
		})
	})
	if err != nil {
		return xds.Welcome{}, err
	}
	n.mu.Lock()
	n.cgroups[base] = p.Cgroup
	n.mu.Unlock()
	return xds.Welcome{PortShift: base}, n.generations.Arrived(base, p.Process)
}

func (n *labNode) served() ([]uint16, error) {
	var bases []uint16
	err := n.withProxy(func(p *redirect.Proxy) error {
		all, err := p.Generations()
		for _, g := range all {
			bases = append(bases, g.Base)
		}
		return err
	})
	return bases, err
}

func (n *labNode) covers(base, other uint16) (covered bool, err error) {
	err = n.withProxy(func(p *redirect.Proxy) error {
		covered, err = p.Covers(base, other)
		return err
	})
	return covered, err
}

func (n *labNode) acknowledged(base uint16) bool {
	n.mu.Lock()
	cgroup := n.cgroups[base]
	n.mu.Unlock()
	return n.ads.Acknowledged(cgroup)
}

// adminOf finds an Envoy's admin socket beside its bootstrap.
func adminOf(p *os.Process) *envoy.Admin {
	line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.Pid))
	for _, arg := range strings.Split(string(line), "\x00") {
		if filepath.Base(arg) == "bootstrap.json" {
			return envoy.NewAdmin(filepath.Join(filepath.Dir(arg), "admin.sock"))
		}
	}
	return envoy.NewAdmin("/nowhere")
}

// labEnvoy is an Envoy of a node, in a cgroup of its own.
type labEnvoy struct {
	*exec.Cmd
	node   *labNode
	dir    string
	cgroup string
	gone   chan struct{}
}

// startEnvoy starts one and does not wait for anything.
func (n *labNode) startEnvoy() *labEnvoy {
	n.t.Helper()
	n.envoys++
	return n.startEnvoyIn(fmt.Sprintf("envoy-%d", n.envoys))
}

// startEnvoyIn starts one in a cgroup, by name.
func (n *labNode) startEnvoyIn(name string) *labEnvoy {
	n.t.Helper()
	e := &labEnvoy{node: n, dir: filepath.Join(n.dir, name), cgroup: filepath.Join(n.Root, name), gone: make(chan struct{})}
	n.must("make a folder", os.MkdirAll(e.dir, 0o700))
	bootstrap := filepath.Join(e.dir, "bootstrap.json")
	n.must("write a bootstrap", os.WriteFile(bootstrap, render.Bootstrap(render.BootstrapOptions{
		NodeID: name, AdminSocket: filepath.Join(e.dir, "admin.sock"), XDSSocket: filepath.Join(n.dir, "x", "xds.sock"), HeapBytes: 1 << 30,
	}), 0o600))
	log, err := os.Create(filepath.Join(e.dir, "log"))
	n.must("make a log", err)
	defer log.Close()
	level := os.Getenv("WAGGLE_ENVOY_LOG")
	if level == "" {
		level = "warning"
	}
	e.Cmd = exec.Command(envoyBinary(n.t), "-c", bootstrap, "--concurrency", "2", "--disable-hot-restart", "--drain-time-s", "3", "-l", level)
	e.Stdout, e.Stderr = log, log
	n.must("start Envoy", n.Start(e.Cmd, e.cgroup))
	go func() {
		e.Wait()
		close(e.gone)
	}()
	n.t.Cleanup(func() {
		e.Process.Kill()
		<-e.gone
		if n.t.Failed() {
			text, _ := os.ReadFile(filepath.Join(e.dir, "log"))
			n.t.Logf("%s on %s wrote:\n%s", name, n.Name, text)
		}
	})
	return e
}

// runEnvoy starts one and waits until new connections go to it.
func (n *labNode) runEnvoy() *labEnvoy {
	n.t.Helper()
	before, err := n.proxy.Active()
	n.must("read who is active", err)
	e := n.startEnvoy()
	n.eventually("the new Envoy is active", func() bool {
		now, err := n.proxy.Active()
		n.must("read who is active", err)
		return now.Current != before.Current || before.Current != 0 && n.baseOf(e) == now.Current
	})
	n.listening(kPass) // with the base of one that has died it was active from the start
	return e
}

// baseOf gives the base of an Envoy; 0: it has not arrived.
func (n *labNode) baseOf(e *labEnvoy) uint16 {
	n.mu.Lock()
	defer n.mu.Unlock()
	for base, cgroup := range n.cgroups {
		if strings.HasSuffix(e.cgroup, cgroup) {
			return base
		}
	}
	return 0
}

// eventually waits for what happens in the kernel or in Envoy.
func (n *labNode) eventually(what string, f func() bool) {
	n.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			n.t.Fatalf("%s: not within 20 s: %s", n.Name, what)
		}
	}
}

// envoyBinary finds the stock Envoy: WAGGLE_ENVOY, or .tools/envoy in a folder
// above.
func envoyBinary(t *testing.T) string {
	if path := os.Getenv("WAGGLE_ENVOY"); path != "" {
		return path
	}
	dir, err := os.Getwd()
	for ; err == nil && dir != "/"; dir = filepath.Dir(dir) {
		path := filepath.Join(dir, ".tools", "envoy")
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Fatal("neither WAGGLE_ENVOY nor .tools/envoy above here: run `make tools`")
	return ""
}

// testLog writes to the test's log while the test runs.
type testLog struct {
	t    *testing.T
	name string
}

func (l testLog) Write(b []byte) (int, error) {
	if l.t.Context().Err() == nil {
		l.t.Logf("%s: %s", l.name, strings.TrimSpace(string(b)))
	}
	return len(b), nil
}
