package cni

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestStrangers at the socket: what is no request, or half of one, ends that
// connection alone.
func TestStrangers(t *testing.T) {
	n := newNode(t, dual)
	n.start()
	for _, said := range []string{"", "GET / HTTP/1.1\r\n\r\n", "\n", "{}\n", `{"Command": "ADD"}` + "\n", `{"Command": "DEL", "Container": "../x", "Device": "eth0"}` + "\n",
		`{"Command": "DEL", "Container": "c", "Device": "a/b"}` + "\n", `{"Command": "ADD", "Container": "c", "Device": "eth0"}` + "\n", strings.Repeat("x", maxMessage+1)} {
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: n.in("run/cni.sock"), Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte(said)) // the agent may have had enough before the end
		var answer response
		if !strings.HasSuffix(said, "}\n") {
			_ = conn.CloseWrite()
		}
		if _, err := receive(conn, &answer); err == nil && answer.Error == nil {
			t.Errorf("%.40q: answered %+v", said, answer)
		}
		conn.Close()
	}
	if err := n.status(); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if traces := n.left(); len(traces) > 0 {
		t.Errorf("left: %q", traces)
	}
}

// TestNamespaceIsNone: a file that came along is not a network namespace.
func TestNamespaceIsNone(t *testing.T) {
	n := newNode(t, dual)
	n.start()
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	_, said := ask(n.in("run/cni.sock"), request{Command: "ADD", Container: "c", Device: "eth0"}, file, 0, otherPatience)
	if said == nil || !strings.Contains(said.Error(), "make veth") {
		t.Errorf("error %v", said)
	}
	if traces := n.left(); len(traces) > 0 {
		t.Errorf("left: %q", traces)
	}
}

// TestTakeOver of the socket: there is no moment without one, and the end of
// the one before removes nothing. Only root comes in.
func TestTakeOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "cni.sock")
	first, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{path: 0o660 | os.ModeSocket, filepath.Dir(path): 0o700 | os.ModeDir} {
		if info, err := os.Stat(name); err != nil || info.Mode() != want {
			t.Errorf("mode of %s: %v, error %v, want %v", name, info.Mode(), err, want)
		}
	}
	stop, dialed := make(chan struct{}), make(chan error)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				dialed <- nil
				return
			default:
			}
			// as the plugin does it: who has found the old socket by its
			// name may be late, and finds the new one at the next try
			conn, err := dial(path, time.Second)
			if err != nil {
				dialed <- err
				return
			}
			conn.Close()
		}
	}()
	last := first
	for range 200 {
		next, err := listen(path)
		if err != nil {
			t.Fatal(err)
		}
		last.Close()
		last = next
	}
	close(stop)
	if err := <-dialed; err != nil {
		t.Errorf("while it was taken over: %v", err)
	}
	last.Close()
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("%v, error %v, want the socket alone", files, err)
	}
}
