package datapath_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/test/nodes"
)

// talkScript connects a UDP socket for each argument, to one address in it after
// the other, and tells who answers each, whenever it is asked.
const talkScript = `
import socket, sys
sockets = []
for way in sys.argv[1:]:
    s = socket.socket(socket.AF_INET6 if "[" in way else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(3)
    for to in way.split(","):
        host, port = to.rsplit(":", 1)
        s.connect((host.strip("[]"), int(port)))
    sockets.append(s)
for _ in sys.stdin:
    answers = []
    for s in sockets:
        try:
            s.send(b"x")
            host, port = s.getpeername()[:2]
            answers.append("%s at %s:%d" % (s.recv(100).decode().split()[0], "[%s]" % host if ":" in host else host, port))
        except OSError as e:
            answers.append(e.strerror)
    print(", ".join(answers), flush=True)
`

// talkers are connected UDP sockets of one process.
type talkers struct {
	t       *testing.T
	script  *exec.Cmd
	ask     io.WriteCloser
	answers *bufio.Reader
	wrong   bytes.Buffer
}

// talk makes sockets on a machine, each connected to one of its addresses after
// the other.
func talk(t *testing.T, m *nodes.Machine, ways ...[]netip.AddrPort) *talkers {
	t.Helper()
	k := &talkers{t: t, script: exec.Command("python3", "-c", talkScript)}
	for _, way := range ways {
		var texts []string
		for _, at := range way {
			texts = append(texts, at.String())
		}
		k.script.Args = append(k.script.Args, strings.Join(texts, ","))
	}
	k.script.Stderr = &k.wrong
	ask, err1 := k.script.StdinPipe()
	answers, err2 := k.script.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	k.ask, k.answers = ask, bufio.NewReader(answers)
	if err := m.Start(k.script, ""); err != nil {
		t.Fatal(err)
	}
	return k
}

// say wants the answers of all sockets: who answers, and where the socket says
// that is.
func (k *talkers) say(when, want string) {
	k.t.Helper()
	io.WriteString(k.ask, "\n")
	if got, err := k.answers.ReadString('\n'); strings.TrimSpace(got) != want || err != nil {
		k.t.Errorf("%s: %q %v %s, want %q", when, got, err, &k.wrong, want)
	}
}

func (k *talkers) end() {
	k.ask.Close()
	k.script.Wait()
}

// A socket that was connected to a Service, and then to an address that is none,
// has nothing to do with the Service any more.
func TestConnectedElsewhere(t *testing.T) {
	l := newLab(t, true)
	inBothFamilies(t, func(t *testing.T, family int) {
		s := service{host: 1, nodePort: 30081, backends: []nodes.Machine{l.b.Machine}}
		l.serve(s)
		at := netip.AddrPortFrom(s.address(96, family), 80)
		other, backend := netip.AddrPortFrom(l.Client.Addr(family), 8080), netip.AddrPortFrom(l.b.Addr(family), 8080)
		sockets := talk(t, &l.a.Machine, []netip.AddrPort{at, other}, []netip.AddrPort{at, backend})
		want := fmt.Sprintf("%s at %s, b at %s", l.Client.Name, other, backend)
		sockets.say("connected", want)
		s.backends = []nodes.Machine{l.d.Machine}
		l.serve(s)
		l.paths[0].AgeBackends(1e12)
		if err := l.paths[0].ForgetBackends(); err != nil {
			t.Error(err)
		}
		sockets.say("when b has left the Service", want)
		sockets.end()
	})
}
