package datapath_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/test/nodes"
)

// keptScript keeps sockets and asks by each whenever it is told to: who answers,
// or the error.
const keptScript = `
import json, socket, sys
sockets = []
for kind, host, port in json.loads(sys.argv[1]):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    s.settimeout(3)
    to = (host, port)
    if kind != "unconnected":
        s.connect(to)
        to = None
    sockets.append((s, to))
print("ready", flush=True)
for _ in sys.stdin:
    answers = []
    for s, to in sockets:
        try:
            if s.type == socket.SOCK_STREAM:
                s.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                answers.append(json.loads(s.recv(4096).decode().split("\r\n\r\n")[1])["Server"])
                continue
            s.sendto(b"x", to) if to else s.send(b"x")
            answers.append(s.recv(100).decode().split()[0])
        except OSError as e:
            answers.append(e.strerror or "nothing")
    print(",".join(answers), flush=True)
`

// kept is a process on a machine with sockets that stay open.
type kept struct {
	t       *testing.T
	machine *nodes.Machine
	in      io.Writer
	answers *bufio.Reader
}

// to is what a socket of it is for: "connected" or "unconnected" datagrams, "tcp".
type to struct {
	kind string
	netip.AddrPort
}

func keep(t *testing.T, m *nodes.Machine, sockets ...to) *kept {
	t.Helper()
	var list [][3]any
	for _, s := range sockets {
		list = append(list, [3]any{s.kind, s.Addr().String(), s.Port()})
	}
	text, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	script := exec.Command("python3", "-c", keptScript, string(text))
	script.Stderr = t.Output()
	in, err1 := script.StdinPipe()
	out, err2 := script.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := m.Start(script, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); script.Wait() })
	k := &kept{t, m, in, bufio.NewReader(out)}
	if ready, err := k.answers.ReadString('\n'); err != nil {
		t.Fatalf("%s: %q %v", m.Name, ready, err)
	}
	return k
}

// hears asks by every socket and expects these answers, without waiting for them
// in vain.
func (k *kept) hears(when, want string) {
	k.t.Helper()
	begin := time.Now()
	io.WriteString(k.in, "\n")
	got, err := k.answers.ReadString('\n')
	if took := time.Since(begin); strings.TrimSpace(got) != want || err != nil || took > 2*time.Second {
		k.t.Errorf("%s, %s: %q %v after %s, want %q", k.machine.Name, when, got, err, took, want)
	}
}

// A conversation in datagrams stays with a backend that leaves as long as that
// serves it, an agent's restart or not; nobody new is sent there.
func TestLeaving(t *testing.T) {
	l := newLab(t, true)
	inBothFamilies(t, func(t *testing.T, family int) {
		s := service{host: 1, nodePort: 30081, backends: []nodes.Machine{l.b.Machine}}
		l.serve(s)
		vip := netip.AddrPortFrom(s.address(96, family), 80)
		port := netip.AddrPortFrom(l.Nodes[0].Addr(family), s.nodePort)
		pod := keep(t, &l.a.Machine, to{"connected", vip}, to{"unconnected", vip})
		node := keep(t, &l.Nodes[0].Machine, to{"connected", vip}, to{"unconnected", vip})
		outside := keep(t, l.Client, to{"connected", port})
		stay := func(when string) {
			t.Helper()
			l.paths[0].AgeBackends(time.Hour)
			if err := l.paths[0].ForgetBackends(); err != nil {
				t.Error(err)
			}
			pod.hears(when, "b,b")
			node.hears(when, "b,b")
			outside.hears(when, "b")
		}
		stay("at first")
		s.backends, s.leaving = []nodes.Machine{l.d.Machine}, []nodes.Machine{l.b.Machine}
		l.serve(s)
		stay("while b is leaving")
		if rows := l.leaving(t); len(rows) != 4 { // both families, of all nodes and of this one
			t.Errorf("leaving are %v", rows)
		}
		for _, m := range []*nodes.Machine{&l.a.Machine, &l.Nodes[0].Machine, l.Client} {
			if server, _ := askUDP(t, m, port, "x", true); server != "d" {
				t.Errorf("%s is new and was answered by %s", m.Name, server)
			}
		}
		l.paths[0].Close()
		l.paths[0] = openNode(l.t, l.Nodes[0], l.Nodes[0].Root)
		stay("with another agent")
		s.leaving = nil
		l.serve(s)
		pod.hears("when b has left", "b,d") // its answers may be late
		outside.hears("when b has left", "d")
		l.paths[0].AgeBackends(time.Hour)
		if err := l.paths[0].ForgetBackends(); err != nil {
			t.Error(err)
		}
		pod.hears("some time later", "Destination address required,d")
		node.hears("some time later", "Destination address required,d")
		if rows := l.leaving(t); len(rows) > 0 {
			t.Errorf("backends %v, want none that is leaving", rows)
		}
	})
}

// leaving are the rows of the first node's backends that leave their sets.
func (l *lab) leaving(t *testing.T) []datapath.Row {
	t.Helper()
	r, err := datapath.OpenReader(l.Nodes[0].BPFFS)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	rows, err := r.Rows("backends")
	if err != nil {
		t.Error(err)
	}
	return slices.DeleteFunc(rows, func(r datapath.Row) bool { return !strings.Contains(r.Key, "leaving") })
}

// Who speaks to a pod that has ended learns it at once, at the pod's own node and
// at another; who asked a Service finds another backend.
func TestEndedPod(t *testing.T) {
	l := newLab(t, true)
	s := service{host: 1, nodePort: 30081, backends: []nodes.Machine{l.b.Machine}}
	for _, family := range []int{4, 6} {
		l.serve(s)
		port := netip.AddrPortFrom(l.Nodes[0].Addr(family), s.nodePort)
		b, d := netip.AddrPortFrom(l.b.Addr(family), 8080), netip.AddrPortFrom(l.d.Addr(family), 8080)
		pod := keep(t, &l.a.Machine, to{"connected", b}, to{"connected", d}, to{"tcp", b}, to{"tcp", d})
		outside := keep(t, l.Client, to{"connected", port})
		pod.hears("at first", "b,d,b,d")
		outside.hears("at first", "b")
		after := s
		after.backends, after.leaving = []nodes.Machine{l.d.Machine}, s.backends
		l.serve(after)
		for i, p := range []*nodes.Pod{l.b, l.d} {
			if err := l.paths[i].Endpoints().Delete(t.Context(), endpointOf(p, []model.Identity{idB, idD}[i]).Key()); err != nil {
				t.Fatal(err)
			}
		}
		pod.hears("when both have ended", "Connection refused,Connection refused,Connection reset by peer,Connection reset by peer")
		outside.hears("when b has ended", "Connection refused")
		l.learn(1)
		outside.hears("again", "d")
		l.learn(0)
	}
}
