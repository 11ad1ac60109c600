package datapath_test

import (
	"bufio"
	"bytes"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/test/nodes"
)

// elsewhereScript connects a UDP socket to a Service and then to somebody else,
// another one to a Service and then to its backend itself, and asks both; again,
// whenever it is told to.
const elsewhereScript = `
import socket, sys
service, other, backend = sys.argv[1:]
sockets = []
for then in (other, backend):
    s = socket.socket(socket.AF_INET6 if ":" in then else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(3)
    s.connect((service, 80))
    s.connect((then, 8080))
    sockets.append(s)
for _ in sys.stdin:
    answers = []
    for s in sockets:
        try:
            s.send(b"x")
            answers.append("%s at %s" % (s.recv(100).decode().split()[0], s.getpeername()[0]))
        except OSError as e:
            answers.append(e.strerror)
    print(", ".join(answers), flush=True)
`

// A socket that was connected to a Service, and then to an address that is none,
// has nothing to do with the Service any more.
func TestConnectedElsewhere(t *testing.T) {
	l := newLab(t, true)
	inBothFamilies(t, func(t *testing.T, family int) {
		s := service{host: 1, nodePort: 30081, backends: []nodes.Machine{l.b.Machine}}
		l.serve(s)
		var out bytes.Buffer
		other, backend := l.Client.Addr(family).String(), l.b.Addr(family).String()
		script := exec.Command("python3", "-c", elsewhereScript, s.address(96, family).String(), other, backend)
		script.Stderr = &out
		in, err1 := script.StdinPipe()
		lines, err2 := script.StdoutPipe()
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if err := l.a.Start(script, ""); err != nil {
			t.Fatal(err)
		}
		answers := bufio.NewReader(lines)
		says := func(what string) {
			t.Helper()
			io.WriteString(in, "\n")
			want := l.Client.Name + " at " + other + ", b at " + backend
			if got, err := answers.ReadString('\n'); strings.TrimSpace(got) != want || err != nil {
				t.Errorf("%s: %q %v %s, want %q", what, got, err, &out, want)
			}
		}
		says("connected")
		s.backends = []nodes.Machine{l.d.Machine}
		l.serve(s)
		l.paths[0].AgeBackends(1e12)
		if err := l.paths[0].ForgetBackends(); err != nil {
			t.Error(err)
		}
		says("when b has left the Service")
		in.Close()
		script.Wait()
	})
}
