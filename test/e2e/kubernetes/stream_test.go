package kubernetes

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/test/e2e"
)

// protocols are the two ways in which kubectl streams: WebSocket, its default,
// and SPDY, which older clients speak.
var protocols = map[string][]string{
	"websocket": {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true", "KUBECTL_PORT_FORWARD_WEBSOCKETS=true"},
	"spdy":      {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false", "KUBECTL_PORT_FORWARD_WEBSOCKETS=false"},
}

func TestStreams(t *testing.T) {
	for name, env := range protocols {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := e2e.New(t)
			c.Apply("testdata/streams.yaml")
			c.Apply("testdata/counter.yaml")
			c.Wait("pod/by-input", "Ready")
			c.Wait("pod/shell", "Ready")
			c.Wait("pod/web", "Ready")

			if got := c.Stream(env, "in\n", "exec", "-i", "shell", "--", "sh", "-c", "read x; echo out $x; exit 3"); got != "out in\ncommand terminated with exit code 3" {
				t.Errorf("exec: %q", got)
			}
			if got := c.Stream(env, "go\n", "attach", "-i", "by-input"); !strings.Contains(got, "\n19\n20") {
				t.Errorf("attach: %q", got) // input has come in and output back
			}
			url := c.PortForward(env, "pod/web", 8080)
			if got := c.From("host").OK(e2e.Request{URL: url}, 200); got.Backend() != "web" {
				t.Errorf("port-forward: %s", got.Body)
			}
		})
	}
}

// Logs come as they are written.
func TestLogsFollow(t *testing.T) {
	t.Parallel()
	c := e2e.New(t)
	c.Apply("testdata/counter.yaml")
	c.Wait("pod/by-file", "Ready")
	go c.Attempt("exec", "by-file", "--", "touch", "/tmp/go")
	lines := strings.Split(c.Stream(nil, "", "logs", "-f", "by-file"), "\n")
	for i, line := range lines {
		if line != fmt.Sprint(i+1) {
			t.Fatalf("line %d is %q", i+1, line)
		}
	}
	if len(lines) != 20 {
		t.Errorf("%d lines, want 20", len(lines))
	}
}
