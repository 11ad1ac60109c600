package cni

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/internal/ipam"
	"github.com/waggle-mesh/waggle/internal/link"
	"github.com/waggle-mesh/waggle/internal/model"
)

// The test program is also the plugin, and an agent.
func TestMain(m *testing.M) {
	switch os.Getenv("WAGGLE_TEST_ROLE") {
	case "plugin":
		os.Exit(Plugin())
	case "agent":
		if err := runAgent(os.Getenv("WAGGLE_TEST_DIR"), os.Getenv("WAGGLE_TEST_RANGES")); err != nil {
			fmt.Fprintln(os.Stderr, "agent:", err)
			os.Exit(1)
		}
	default:
		os.Exit(m.Run())
	}
}

// runAgent serves until it is killed. Programs are files attached/INDEX. While
// there is a file "hold" Attach does not end, which "held" tells; "refuse" and
// "broken" make Attach and Status fail with what is in them.
func runAgent(dir, ranges string) error {
	var prefixes []netip.Prefix
	for _, r := range strings.Fields(ranges) {
		prefixes = append(prefixes, netip.MustParsePrefix(r))
	}
	pool, err := ipam.New(prefixes)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	node, err := link.Open(link.Options{Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, PodCIDRs: prefixes, Routers: pool.Routers(), Ingress: pool.Ingress(), Log: log})
	if err != nil {
		return err
	}
	if err := node.Prepare(); err != nil {
		return err
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	program := func(e model.PodEndpoint) string { return in(fmt.Sprintf("attached/%d", e.Index)) }
	server, err := Open(context.Background(), Options{
		Socket: in("run/cni.sock"), State: in("state"), Addresses: pool, Devices: node, Log: log,
		Attach: func(ctx context.Context, e *model.PodEndpoint) error {
			if device, err := net.InterfaceByIndex(e.Index); err != nil || device.Flags&net.FlagUp != 0 {
				return fmt.Errorf("device %+v should be down; error %v", device, err)
			}
			if why, err := os.ReadFile(in("refuse")); err == nil {
				return errors.New(string(why))
			}
			err := os.WriteFile(program(*e), nil, 0o600)
			for exists(in("hold")) && ctx.Err() == nil {
				if err := os.WriteFile(in("held"), nil, 0o600); err != nil {
					return err
				}
				runtime.Gosched()
			}
			return err
		},
		Detach: func(_ context.Context, e model.PodEndpoint) error {
			if err := os.Remove(program(e)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil
		},
		Attached: func(e model.PodEndpoint) error { _, err := os.Stat(program(e)); return err },
		Status: func() error {
			if why, err := os.ReadFile(in("broken")); err == nil {
				return errors.New(string(why))
			}
			return nil
		},
	})
	if err != nil {
		return err
	}
	if err := server.Recover(context.Background()); err != nil {
		return err
	}
	return server.Serve(context.Background())
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// node is a network namespace with an uplink of MTU 1400, and an agent.
type node struct {
	t      testing.TB
	dir    string
	ranges string
	netns  *os.File
	agent  *exec.Cmd
	stderr *bytes.Buffer
}

func newNode(t testing.TB, ranges string) *node {
	t.Helper()
	n := &node{t: t, dir: t.TempDir(), ranges: ranges, netns: newNamespace(t)}
	if err := os.Mkdir(n.in("attached"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"link set lo up", "link add up0 mtu 1400 type veth peer name up1 mtu 1400", "link set up0 up", "link set up1 up",
		"addr add 192.0.2.1/24 dev up0", "-6 addr add fd00::1/64 dev up0 nodad"} {
		n.run("ip " + line)
	}
	t.Cleanup(n.kill)
	return n
}

func (n *node) in(name string) string { return filepath.Join(n.dir, name) }

func (n *node) write(name, text string) {
	n.t.Helper()
	if err := os.WriteFile(n.in(name), []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) remove(name string) {
	n.t.Helper()
	if err := os.Remove(n.in(name)); err != nil {
		n.t.Fatal(err)
	}
}

// run runs a command in the node, and gives what it prints.
func (n *node) run(command string) string {
	n.t.Helper()
	words := strings.Fields(command)
	c := exec.Command(words[0], words[1:]...)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := startIn(n.netns, c); err != nil {
		n.t.Fatalf("%s: %v", command, err)
	}
	if err := c.Wait(); err != nil {
		n.t.Fatalf("%s: %v\n%s", command, err, out.String())
	}
	return out.String()
}

// start starts the agent and waits until it answers.
func (n *node) start() {
	n.t.Helper()
	n.startUnready()
	if err := n.status(); err != nil {
		n.t.Fatalf("agent does not answer: %v\n%s", err, n.stderr)
	}
}

func (n *node) startUnready() {
	n.t.Helper()
	n.agent, n.stderr = exec.Command(os.Args[0]), &bytes.Buffer{}
	n.agent.Env = append(os.Environ(), "WAGGLE_TEST_ROLE=agent", "WAGGLE_TEST_DIR="+n.dir, "WAGGLE_TEST_RANGES="+n.ranges)
	n.agent.Stderr = n.stderr
	if err := startIn(n.netns, n.agent); err != nil {
		n.t.Fatalf("start agent: %v", err)
	}
}

// kill is kill -9 of the agent.
func (n *node) kill() {
	if n.agent != nil {
		_ = n.agent.Process.Kill()
		_ = n.agent.Wait()
		n.agent = nil
		if text := n.stderr.String(); text != "" {
			n.t.Logf("agent said: %s", text)
		}
	}
}

// startIn starts a command in a namespace: a child begins in that of the
// thread that makes it.
func startIn(netns *os.File, c *exec.Cmd) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends
		if err := unix.Setns(int(netns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- c.Start()
	}()
	return <-done
}

func newNamespace(t testing.TB) *os.File {
	t.Helper()
	made := make(chan *os.File)
	go func() {
		runtime.LockOSThread()
		if unix.Unshare(unix.CLONE_NEWNET) != nil {
			close(made)
			return
		}
		file, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			close(made)
			return
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

// pod is a container that wants a network.
type pod struct {
	*node
	container string
	netns     *os.File
	result    *types100.Result
}

func (n *node) pod(container string) *pod {
	n.t.Helper()
	return &pod{node: n, container: container, netns: newNamespace(n.t)}
}

// command is the plugin as the runtime starts it.
func (p *pod) command(command, conf string) *exec.Cmd {
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "WAGGLE_TEST_ROLE=plugin", "CNI_COMMAND="+command, "CNI_CONTAINERID="+p.container, "CNI_IFNAME=eth0",
		"CNI_PATH=/opt/cni/bin", "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME="+p.container+";K8S_POD_UID=u")
	if p.netns != nil {
		c.Env = append(c.Env, fmt.Sprintf("CNI_NETNS=/proc/%d/fd/%d", os.Getpid(), p.netns.Fd()))
	}
	c.Stdin = strings.NewReader(conf)
	return c
}

func (n *node) conf(extra string) string {
	return fmt.Sprintf(`{"cniVersion": "1.1.0", "name": "waggle", "type": "waggle-cni", "socket": %q%s}`, n.in("run/cni.sock"), extra)
}

// outcome reads what the plugin printed.
func outcome(c *exec.Cmd) (stdout []byte, err error) {
	stdout, err = c.Output()
	if err == nil {
		return stdout, nil
	}
	var said types.Error
	if json.Unmarshal(stdout, &said) == nil && said.Code != 0 {
		return stdout, &said
	}
	return stdout, fmt.Errorf("%w, printed %q", err, stdout)
}

func (p *pod) add() error {
	stdout, err := outcome(p.command("ADD", p.conf("")))
	if err != nil {
		return err
	}
	return p.parse(stdout)
}

func (p *pod) parse(stdout []byte) error {
	p.result = &types100.Result{}
	return json.Unmarshal(stdout, p.result)
}

func (p *pod) del() error { _, err := outcome(p.command("DEL", p.conf(""))); return err }

func (p *pod) check() error {
	previous, err := json.Marshal(p.result)
	if err != nil {
		return err
	}
	_, err = outcome(p.command("CHECK", p.conf(`, "prevResult": `+string(previous))))
	return err
}

func (n *node) status() error {
	_, err := outcome((&pod{node: n}).command("STATUS", n.conf("")))
	return err
}

// collect is GC with the pods that are to stay.
func (n *node) collect(valid ...*pod) error {
	attachments := []types.GCAttachment{}
	for _, p := range valid {
		attachments = append(attachments, types.GCAttachment{ContainerID: p.container, IfName: "eth0"})
	}
	text, err := json.Marshal(attachments)
	if err != nil {
		return err
	}
	_, err = outcome((&pod{node: n}).command("GC", n.conf(`, "cni.dev/valid-attachments": `+string(text))))
	return err
}

func (p *pod) addresses() (all []string) {
	for _, ip := range p.result.IPs {
		all = append(all, ip.Address.IP.String())
	}
	return all
}

// left is every trace of pods: files, devices, routes and programs.
func (n *node) left() (traces []string) {
	n.t.Helper()
	for _, dir := range []string{"state/pods", "run/deletions", "attached"} {
		files, err := os.ReadDir(n.in(dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			n.t.Fatal(err)
		}
		for _, f := range files {
			traces = append(traces, dir+"/"+f.Name())
		}
	}
	for _, command := range []string{"ip -o link", "ip route", "ip -6 route", "ip neigh", "ip -6 neigh"} {
		for line := range strings.Lines(n.run(command)) {
			if strings.Contains(line, "lxc") {
				traces = append(traces, command+": "+line)
			}
		}
	}
	return traces
}

func codeOf(err error) uint {
	var e *types.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}
