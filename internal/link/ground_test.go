package link

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/internal/model"
)

// newNamespace makes a network namespace that ends with the test.
func newNamespace(t *testing.T) *os.File {
	t.Helper()
	type result struct {
		file *os.File
		err  error
	}
	made := make(chan result)
	go lastOnThread(func() {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- result{err: err}
			return
		}
		file, err := os.Open("/proc/thread-self/ns/net")
		made <- result{file, err}
	})
	r := <-made
	if r.err != nil {
		t.Fatalf("make a network namespace (root is needed): %v", r.err)
	}
	t.Cleanup(func() { r.file.Close() })
	return r.file
}

// ip runs one ip(8) command per line in a namespace.
func ip(t *testing.T, netns *os.File, lines string) string {
	t.Helper()
	var out strings.Builder
	for _, line := range strings.Split(strings.TrimSpace(lines), "\n") {
		err := within(netns, func() error {
			// A child is made by this very thread, so it starts in its namespace.
			text, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput()
			out.Write(text)
			return err
		})
		if err != nil {
			t.Fatalf("ip %s: %v\n%s", line, err, out.String())
		}
	}
	return out.String()
}

// ground is two nodes on one segment, each with a pod.
//
//	pod 10.9.1.10 fd09:1::10 ── node 0 192.0.2.1 fd00::1 ──┐ up0
//	pod 10.9.2.10 fd09:2::10 ── node 1 192.0.2.2 fd00::2 ──┘
type ground struct {
	nodes []*Node
	hosts []*os.File
	pods  []*os.File
	ends  []model.PodEndpoint
}

func newGround(t *testing.T, v4, v6 bool) ground {
	t.Helper()
	g := ground{hosts: []*os.File{newNamespace(t), newNamespace(t)}}
	err := within(g.hosts[0], func() error {
		return exec.Command("ip", "link", "add", "up0", "mtu", "1400", "type", "veth", "peer", "name", "up0",
			"mtu", "1400", "netns", fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), g.hosts[1].Fd())).Run()
	})
	if err != nil {
		t.Fatalf("link the nodes: %v", err)
	}
	for i, host := range g.hosts {
		ip(t, host, fmt.Sprintf("link set lo up\nlink set up0 up\naddr add 192.0.2.%d/24 dev up0\naddr add fd00::%d/64 dev up0 nodad", i+1, i+1))
		g.addNode(t, i, v4, v6)
		g.addPod(t, i, v4, v6)
	}
	return g
}

func (g *ground) addNode(t *testing.T, i int, v4, v6 bool) {
	t.Helper()
	o := Options{Namespace: g.hosts[i], Addresses: []netip.Addr{netip.MustParseAddr(fmt.Sprintf("192.0.2.%d", i+1))}}
	var routes []model.NodeRoute
	if v4 {
		o.Routers = append(o.Routers, address("10.9.%d.1", i+1))
		o.Ingress = append(o.Ingress, address("10.9.%d.2", i+1))
		o.PodCIDRs = append(o.PodCIDRs, netip.PrefixFrom(address("10.9.%d.0", i+1), 24))
		routes = append(routes, model.NodeRoute{Prefix: netip.PrefixFrom(address("10.9.%d.0", 2-i), 24), Via: address("192.0.2.%d", 2-i)})
	}
	if v6 {
		o.Routers = append(o.Routers, address("fd09:%d::1", i+1))
		o.Ingress = append(o.Ingress, address("fd09:%d::2", i+1))
		o.PodCIDRs = append(o.PodCIDRs, netip.PrefixFrom(address("fd09:%d::", i+1), 64))
		routes = append(routes, model.NodeRoute{Prefix: netip.PrefixFrom(address("fd09:%d::", 2-i), 64), Via: address("fd00::%d", 2-i)})
	}
	n, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	if err := n.Prepare(); err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		if device, err := n.Routes().Update(t.Context(), r); err != nil || device != "up0" {
			t.Fatalf("route %v by %q: %v", r, device, err)
		}
	}
	g.nodes = append(g.nodes, n)
}

func (g *ground) addPod(t *testing.T, i int, v4, v6 bool) {
	t.Helper()
	pod := newNamespace(t)
	e := model.PodEndpoint{Container: fmt.Sprintf("container%d", i), PodDevice: "eth0", Pod: model.Name{Namespace: "default", Name: "web"}}
	if v4 {
		e.Addresses = append(e.Addresses, address("10.9.%d.10", i+1))
	}
	if v6 {
		e.Addresses = append(e.Addresses, address("fd09:%d::10", i+1))
	}
	if err := g.nodes[i].CreatePod(pod, &e); err != nil {
		t.Fatal(err)
	}
	if err := g.nodes[i].UpPod(pod, e); err != nil {
		t.Fatal(err)
	}
	g.pods, g.ends = append(g.pods, pod), append(g.ends, e)
}

func address(format string, n int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf(format, n)) }

// dial connects from one namespace to an address in another, and gives the
// source that the other side sees.
func dial(t *testing.T, from, to *os.File, at netip.Addr, local net.Addr) string {
	t.Helper()
	var listener net.Listener
	err := within(to, func() (err error) {
		listener, err = net.Listen("tcp", netip.AddrPortFrom(at, 0).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	err = within(from, func() error {
		d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: local}
		conn, err := d.Dial("tcp", listener.Addr().String())
		if err != nil {
			return err
		}
		return conn.Close()
	})
	if err != nil {
		t.Fatalf("connect to %s: %v", at, err)
	}
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.ReadAll(conn); err != nil && !errors.Is(err, unix.ECONNRESET) {
		t.Fatal(err)
	}
	return conn.RemoteAddr().(*net.TCPAddr).IP.String()
}
