package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/internal/agent/announcer"
	"github.com/waggle-mesh/waggle/internal/ask"
	"github.com/waggle-mesh/waggle/internal/cni"
	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
	"github.com/waggle-mesh/waggle/test/nodes"
)

// The test program is also the agent, and the plugin.
func TestMain(m *testing.M) {
	switch os.Getenv("WAGGLE_TEST_ROLE") {
	case "agent":
		os.Exit(agentMain(Run))
	case "cleanup":
		os.Exit(agentMain(func(_ context.Context, o Options) error { return Cleanup(o) }))
	case "plugin":
		os.Exit(cni.Plugin())
	}
	nodes.Main(m.Run)
}

// settings are what a test's agent is told.
type settings struct {
	Node, Kubeconfig   string
	Dir, BPFFS, Cgroup string
	Sizes              datapath.Sizes
	Announce           announcer.Options
}

func (s settings) lasting() string { return s.Dir + "-lasting" }

func agentMain(run func(context.Context, Options) error) int {
	var s settings
	if err := json.Unmarshal([]byte(os.Getenv("WAGGLE_TEST_AGENT")), &s); err != nil {
		panic(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	err := run(ctx, Options{
		Node: s.Node, Cluster: "default", Kube: kube.Options{Kubeconfig: s.Kubeconfig}, StateDir: s.Dir, LastingDir: s.lasting(), BPFFS: s.BPFFS, Cgroup: s.Cgroup,
		CNI: cni.Installation{BinDir: filepath.Join(s.Dir, "bin"), ConfDir: filepath.Join(s.Dir, "net.d")},
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Version: "test", Sizes: s.Sizes, Announce: s.Announce,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "ended:", err)
		return 2
	}
	return 0
}

// ground is a node of a cluster, with an API server on its loopback address.
type ground struct {
	*nodes.Node
	of     *nodes.Ground
	client *nodes.Machine // outside of the cluster
	t      *testing.T
	*kubetest.Server
	settings settings
	pods     map[string]*os.File // their network namespaces
}

func newGround(t *testing.T) *ground {
	t.Helper()
	of := nodes.New(t)
	g := groundOf(t, of, of.Nodes[0], kubetest.New(t))
	g.Put("/api/v1/namespaces/default", kubetest.Object{})
	return g
}

// neighbour is the other node of the cluster.
func (g *ground) neighbour() *ground { return groundOf(g.t, g.of, g.of.Nodes[1], g.Server) }

func groundOf(t *testing.T, of *nodes.Ground, n *nodes.Node, api *kubetest.Server) *ground {
	t.Helper()
	g := &ground{Node: n, of: of, client: of.Client, t: t, Server: api, pods: map[string]*os.File{}}
	dir := filepath.Join(of.Dir, "agent-"+n.Name)
	g.settings = settings{Node: n.Name, Dir: dir, BPFFS: g.BPFFS, Cgroup: g.Root, Kubeconfig: filepath.Join(of.Dir, "kubeconfig-"+n.Name)}
	var listener net.Listener
	g.Do(t, func() (err error) {
		listener, err = net.Listen("tcp", "127.0.0.1:0")
		return err
	})
	server := &http.Server{Handler: g.Server}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	text := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c"}}], "clusters": [{"name": "c", "cluster": {"server": "http://%s"}}]}`, listener.Addr())
	if err := os.WriteFile(g.settings.Kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return g
}

// node writes the node's object; addresses are the ground's own by default.
func (g *ground) node(podCIDRs []any, addresses ...string) {
	if addresses == nil {
		addresses = []string{g.Addr4.String(), g.Addr6.String()}
	}
	var all []any
	for _, a := range addresses {
		all = append(all, kubetest.Object{"type": "InternalIP", "address": a})
	}
	g.Put("/api/v1/nodes/"+g.Name, kubetest.Object{"spec": kubetest.Object{"podCIDRs": podCIDRs}, "status": kubetest.Object{"addresses": all}})
}

// both are the PodCIDRs of most tests' node.
var both = []any{"10.99.1.0/24", "fd99:1::/64"}

// process is an agent of the node's.
type process struct {
	*ground
	cmd    *exec.Cmd
	said   *output
	ended  chan struct{} // closed when it has
	status error         // of its end
}

// output is written by a process and read meanwhile.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write is io.Writer's.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// String is what was written so far.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start starts an agent, below a command if one is given.
func (g *ground) start(s settings, below ...string) *process {
	g.t.Helper()
	return g.startAs("agent", s, below...)
}

// startAs starts a process in another role.
func (g *ground) startAs(role string, s settings, below ...string) *process {
	g.t.Helper()
	told, err := json.Marshal(s)
	if err != nil {
		g.t.Fatal(err)
	}
	line := append(below, os.Args[0])
	a := &process{ground: g, cmd: exec.Command(line[0], line[1:]...), said: &output{}, ended: make(chan struct{})}
	a.cmd.Env = append(os.Environ(), "WAGGLE_TEST_ROLE="+role, "WAGGLE_TEST_AGENT="+string(told))
	a.cmd.Stderr = a.said
	if err := g.Start(a.cmd, ""); err != nil {
		g.t.Fatal(err)
	}
	go func() {
		a.status = a.cmd.Wait()
		close(a.ended)
	}()
	g.t.Cleanup(func() {
		a.kill()
		if g.t.Failed() {
			g.t.Logf("an agent said:\n%s", a.said)
		}
	})
	return a
}

func (a *process) kill() {
	_ = a.cmd.Process.Kill()
	<-a.ended
}

// stop is the end of a pod: the agent is told.
func (a *process) stop() {
	a.t.Helper()
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		a.t.Fatal(err)
	}
	<-a.ended
	if a.status != nil {
		a.t.Errorf("told to stop, the agent ended with %v", a.status)
	}
}

// patience is longer than anything here takes.
const patience = 30 * time.Second

// until asks the node's agent for its status until it is so.
func (g *ground) until(what string, is func(*Status) bool) {
	g.t.Helper()
	var last *Status
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		s := &Status{}
		if ask.Get(context.Background(), Socket(g.settings.Dir), "/status", s) != nil {
			continue
		}
		if last = s; is(s) {
			return
		}
	}
	text, _ := json.MarshalIndent(last, "", " ")
	g.t.Fatalf("never: %s; last status %s", what, text)
}

// ready waits until pods can start, by this process.
func (a *process) ready() {
	a.t.Helper()
	a.until("pods can start", func(s *Status) bool { return s.PID == a.cmd.Process.Pid && s.Phase.Waiting == "" })
}

// waits until the agent says that it waits for something.
func (g *ground) waits(what string) {
	g.t.Helper()
	g.until("it waits "+what, func(s *Status) bool { return strings.Contains(s.Phase.Waiting, what) })
}

// ends expects the agent to end by itself, and to say why.
func (a *process) ends(why ...string) {
	a.t.Helper()
	select {
	case <-a.ended:
	case <-time.After(patience):
		a.t.Fatalf("the agent has not ended; it said\n%s", a.said)
	}
	_, last, _ := strings.Cut(a.said.String(), "\nended: ")
	if a.status == nil || last == "" && !strings.HasPrefix(a.said.String(), "ended: ") {
		a.t.Fatalf("ended with %v, having said\n%s", a.status, a.said)
	}
	for _, part := range why {
		if !strings.Contains(a.said.String(), part) {
			a.t.Errorf("it does not say %q, but\n%s", part, a.said)
		}
	}
}

// pod makes a network namespace and has the plugin give it a network, as the
// runtime does.
func (g *ground) pod(name string) (*types100.Result, error) {
	g.t.Helper()
	out, err := g.plugin("ADD", name)
	if err != nil {
		return nil, err
	}
	result := &types100.Result{}
	return result, json.Unmarshal(out, result)
}

// command is the plugin as the runtime starts it.
func (g *ground) command(command, name string) *exec.Cmd {
	if g.pods[name] == nil {
		g.pods[name] = newNamespace(g.t)
	}
	if path := "/api/v1/namespaces/default/pods/" + name; g.Get(path) == nil {
		g.Put(path, kubetest.Object{"spec": kubetest.Object{"nodeName": "n1"}})
	}
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "WAGGLE_TEST_ROLE=plugin", "CNI_COMMAND="+command, "CNI_CONTAINERID="+name, "CNI_IFNAME=eth0",
		"CNI_PATH=/opt/cni/bin", fmt.Sprintf("CNI_NETNS=/proc/%d/fd/%d", os.Getpid(), g.pods[name].Fd()),
		"CNI_ARGS=K8S_POD_NAMESPACE=default;K8S_POD_NAME="+name)
	c.Stdin = strings.NewReader(fmt.Sprintf(`{"cniVersion": "1.1.0", "name": "waggle", "type": "waggle-cni", "socket": %q}`, Options{StateDir: g.settings.Dir}.cniSocket()))
	return c
}

func (g *ground) plugin(command, name string) ([]byte, error) {
	out, err := g.command(command, name).Output()
	var said types.Error
	if err != nil && json.Unmarshal(out, &said) == nil && said.Code != 0 {
		return nil, &said
	}
	return out, err
}

// newNamespace makes a network namespace that ends with the test.
func newNamespace(t *testing.T) *os.File {
	t.Helper()
	made := make(chan *os.File)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends
		var file *os.File
		if unix.Unshare(unix.CLONE_NEWNET) == nil {
			file, _ = os.Open("/proc/thread-self/ns/net")
		}
		made <- file
	}()
	file := <-made
	if file == nil {
		t.Fatal("cannot make a network namespace: root is needed")
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// listen has a pod listen on a port.
func (g *ground) listen(name string, port int) net.Listener {
	g.t.Helper()
	type result struct {
		net.Listener
		error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends
		if err := unix.Setns(int(g.pods[name].Fd()), unix.CLONE_NEWNET); err != nil {
			made <- result{error: err}
			return
		}
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		made <- result{l, err}
	}()
	r := <-made
	if r.error != nil {
		g.t.Fatal(r.error)
	}
	g.t.Cleanup(func() { r.Close() })
	return r.Listener
}

// reaches has the node ask a pod, where nobody listens: it must say so.
func (g *ground) reaches(of *types100.Result) {
	g.t.Helper()
	for _, ip := range of.IPs {
		g.Do(g.t, func() error {
			c, err := net.DialTimeout("tcp", net.JoinHostPort(ip.Address.IP.String(), "9"), 5*time.Second)
			if errors.Is(err, unix.ECONNREFUSED) {
				return nil
			}
			if err == nil {
				c.Close()
			}
			return fmt.Errorf("ask pod %s: %w", ip.Address.IP, err)
		})
	}
}

func codeOf(err error) uint {
	var said *types.Error
	if errors.As(err, &said) {
		return said.Code
	}
	return 0
}

// serves waits until the kernel sends those who ask for a frontend to just
// these.
func (g *ground) serves(frontend string, backends ...string) {
	g.t.Helper()
	var last []datapath.Service
	for i := range backends {
		backends[i] += "/TCP"
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		r, err := datapath.OpenReader(g.BPFFS)
		if err != nil {
			continue
		}
		last, err = r.Services()
		r.Close()
		for _, s := range last {
			if err == nil && s.Frontend == frontend && slices.Equal(s.Backends, backends) {
				return
			}
		}
	}
	g.t.Fatalf("%s never has backends %q; last %+v", frontend, backends, last)
}
