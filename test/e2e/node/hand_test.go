package node

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/waggle-mesh/waggle/test/e2e"
)

// hand is an agent that somebody has started by hand on a node.
type hand struct {
	c   *e2e.Test
	cmd *exec.Cmd

	mu  sync.Mutex
	out bytes.Buffer
}

// byHand starts one, below a command that changes what it finds, if any.
func byHand(c *e2e.Test, node string, below ...string) *hand {
	c.Helper()
	h := &hand{c: c}
	api := c.Kubectl("get", "endpointslices", "-n", "default", "-l", "kubernetes.io/service-name=kubernetes", "-o", "jsonpath={.items[0].endpoints[0].addresses[0]}")
	command := append([]string{"exec", node}, below...)
	h.cmd = c.SandboxCommand(append(command, buildAgent(c), "agent", "--node-name", node, "--kubeconfig", c.Kubeconfig(), "--k8s-service-host", api)...)
	h.cmd.Stdout, h.cmd.Stderr = h, h
	if err := h.cmd.Start(); err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { // or it would have the node for the next test, too
		_ = h.cmd.Process.Signal(syscall.SIGTERM)
		_ = h.cmd.Wait()
	})
	return h
}

// takesOver starts one that waits for the node's own agent and has the node when
// that has ended.
func takesOver(c *e2e.Test, node string, below ...string) *hand {
	c.Helper()
	h := byHand(c, node, below...)
	h.says("another agent has the node")
	c.Kubectl("-n", "kube-system", "delete", "pod", agentOf(c, node))
	h.says("pods can start")
	return h
}

// Write takes what the agent says.
func (h *hand) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.out.Write(p)
}

func (h *hand) says(text string) {
	h.c.Helper()
	h.c.Eventually("the agent by hand says "+text, func() error {
		h.mu.Lock()
		defer h.mu.Unlock()
		if !strings.Contains(h.out.String(), text) {
			return fmt.Errorf("it says %s", h.out.String())
		}
		return nil
	})
}

func (h *hand) stop() {
	h.c.Helper()
	if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		h.c.Error(err)
	}
	if err := h.cmd.Wait(); err != nil {
		h.c.Errorf("the agent by hand: %v: %s", err, h.out.String())
	}
}

// plainAgent is built once for all tests: a machine at work links for a minute.
var plainAgent = sync.OnceValues(func() (string, error) {
	return compileAgent(filepath.Join(e2e.Root(), "bin", "e2e-agent"))
})

// buildAgent builds the agent's program and returns its path.
func buildAgent(c *e2e.Test, flags ...string) string {
	c.Helper()
	build := plainAgent
	if len(flags) > 0 {
		build = func() (string, error) { return compileAgent(filepath.Join(c.TempDir(), "waggle"), flags...) }
	}
	program, err := build()
	if err != nil {
		c.Fatal(err)
	}
	return program
}

func compileAgent(to string, flags ...string) (string, error) {
	build := exec.Command("go", append(append([]string{"build", "-C", e2e.Root(), "-tags", "noinstall", "-trimpath", "-ldflags", "-s -w", "-o", to}, flags...), "./cmd/waggle")...)
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the agent: %w\n%s", err, out)
	}
	return to, nil
}
