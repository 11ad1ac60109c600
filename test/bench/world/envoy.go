package world

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/datapath/redirect"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
	"github.com/waggle-mesh/waggle/internal/xds"
	"github.com/waggle-mesh/waggle/test/bench/load"
	"github.com/waggle-mesh/waggle/test/nodes"
)

// Envoy is a running one, with one worker.
type Envoy struct {
	PID int
	Dir string // of its files
}

// StartEnvoy starts one on a node, in a cgroup of its own, on the core of the
// load. bootstrap gives its file, which may refer to the folder.
func StartEnvoy(t testing.TB, binary string, n *nodes.Node, bootstrap func(dir string) []byte) *Envoy {
	t.Helper()
	return startEnvoy(t, binary, &n.Machine, filepath.Join(n.Root, "envoy"), filepath.Join(filepath.Dir(n.BPFFS), "envoy"), bootstrap)
}

// StartSidecar does the same in a pod.
func StartSidecar(t testing.TB, binary string, p *nodes.Pod, bootstrap func(dir string) []byte) *Envoy {
	t.Helper()
	return startEnvoy(t, binary, &p.Machine, "", filepath.Join(filepath.Dir(p.Node.BPFFS), "sidecar-"+p.Name), bootstrap)
}

func startEnvoy(t testing.TB, binary string, m *nodes.Machine, cgroup, dir string, bootstrap func(dir string) []byte) *Envoy {
	t.Helper()
	config := filepath.Join(dir, "bootstrap.json")
	check(t, os.MkdirAll(dir, 0o700))
	check(t, os.WriteFile(config, bootstrap(dir), 0o600))
	log, err := os.Create(filepath.Join(dir, "log"))
	check(t, err)
	cmd := load.Command(Core(), binary, "-c", config, "--concurrency", "1", "--disable-hot-restart", "-l", "warning")
	cmd.Stdout, cmd.Stderr = log, log
	check(t, m.Start(cmd, cgroup))
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		log.Close()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Errorf("Envoy of %s wrote:\n%s", m.Name, text)
		}
	})
	return &Envoy{PID: cmd.Process.Pid, Dir: dir}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Proxy is the redirect of a node to an Envoy that xDS tells its resources.
type Proxy struct {
	*Envoy
	node  *Node
	proxy *redirect.Proxy
	ads   *xds.Server

	mu   sync.Mutex
	base uint16 // 0: Envoy has not arrived
}

// Renderer makes resources into those of the node's Envoy.
func (n *Node) Renderer() render.Node {
	return render.Node{Ingress4: n.Ingress4, Ingress6: n.Ingress6, FirstPort: 61000, LastPort: 64999}
}

// Redirect starts an Envoy with these resources and waits until its listeners,
// by name and number, are those that frontends name.
func (n *Node) Redirect(binary string, sockmap bool, all []model.Resource, numbers map[string]uint16) *Proxy {
	p := &Proxy{node: n}
	n.Do(n.t, func() (err error) {
		p.proxy, err = redirect.Open(n.Path, redirect.Options{
			Node4: n.Addr4, Node6: n.Addr6, Ingress4: n.Ingress4, Ingress6: n.Ingress6, Sockmap: sockmap,
		})
		if err != nil {
			return err
		}
		return p.proxy.Start()
	})
	socket := filepath.Join(filepath.Dir(n.BPFFS), "x", "xds.sock")
	p.serve(socket, all)
	p.Envoy = StartEnvoy(n.t, binary, n.Node, func(dir string) []byte {
		return render.Bootstrap(render.BootstrapOptions{NodeID: n.Name, AdminSocket: filepath.Join(dir, "admin.sock"), XDSSocket: socket})
	})
	p.await(numbers)
	check(n.t, n.Path.SetListeners(numbers))
	return p
}

// serve answers the Envoy until the end.
func (p *Proxy) serve(socket string, all []model.Resource) {
	p.ads = xds.NewServer(slog.New(slog.NewTextHandler(io.Discard, nil)))
	p.ads.OnArrival(p.arrived)
	p.ads.Update(all, nil)
	p.ads.Ready()
	lis, err := xds.Listen(socket)
	check(p.node.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.ads.Serve(ctx, lis)
	}()
	p.node.t.Cleanup(func() {
		cancel()
		<-done
	})
}

func (p *Proxy) arrived(peer xds.Peer) (welcome xds.Welcome, err error) {
	p.node.Do(p.node.t, func() error {
		welcome.PortShift, err = p.proxy.Attach(peer.Cgroup)
		return nil
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.base = welcome.PortShift
	return welcome, err
}

func (p *Proxy) await(numbers map[string]uint16) {
	var last string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		p.mu.Lock()
		base := p.base
		p.mu.Unlock()
		if base == 0 {
			last = "it has not arrived"
			continue
		}
		live, err := p.proxy.Listening(base)
		check(p.node.t, err)
		last = fmt.Sprintf("its listeners are %v", live)
		if covers(live, numbers) {
			check(p.node.t, p.proxy.SetActive(redirect.Active{Current: base}))
			return
		}
	}
	p.node.t.Fatalf("wait for Envoy: %s", last)
}

func covers(live map[uint16]redirect.Families, numbers map[string]uint16) bool {
	for _, k := range numbers {
		if live[k] != (redirect.Families{IPv4: true, IPv6: true}) {
			return false
		}
	}
	return true
}
