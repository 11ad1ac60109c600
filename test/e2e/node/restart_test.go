package node

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/test/e2e"
)

var isLong = os.Getenv("WAGGLE_LONG") != ""

// An agent's end, by SIGTERM or without warning, and the next agent's take-over
// cost no request and no connection.
func TestAgentRestarts(t *testing.T) {
	c := busy(t, 6)
	traffic := begin(c, true)
	for i := range times(20, 2) {
		if i%2 == 0 {
			killAgents(c)
		} else {
			c.Kubectl("-n", "kube-system", "delete", "pods", "-l", "k8s-app=cilium", "--wait=true")
		}
		agentsReady(c)
	}
	traffic.end(c)
	startsPods(c)
}

// So does an upgrade to programs with other instructions.
func TestUpgrades(t *testing.T) {
	images := []string{"waggle.test/agent:a", "waggle.test/agent:b"}
	c := busy(t, 6)
	loadAgent(c, images[0])
	loadAgent(c, images[1], "-overlay", overlay(t))
	before := c.Kubectl("-n", "kube-system", "get", "daemonset/cilium", "-o", "jsonpath={.spec.template.spec.containers[0].image}")
	t.Cleanup(func() { setImage(c, before) })
	traffic := begin(c, true)
	tags := map[string]bool{}
	for i := range times(10, 2) {
		setImage(c, images[(i+1)%2])
		tags[programTags(c, c.Nodes()[0])] = true
	}
	traffic.end(c)
	if len(tags) != 2 {
		t.Errorf("%d different sets of programs were attached, want 2: %v", len(tags), tags)
	}
	startsPods(c)
}

// killAgents sends SIGKILL to the agent of every node and waits until each has
// been started again.
func killAgents(c *e2e.Test) {
	c.Helper()
	const restarts = `jsonpath={range .items[*]}{.metadata.name}={.status.containerStatuses[0].restartCount} {end}`
	before := c.Kubectl("-n", "kube-system", "get", "pods", "-l", "k8s-app=cilium", "-o", restarts)
	for _, n := range c.Nodes() {
		c.Sandbox("exec", n, "sh", "-c", `for p in /proc/[0-9]*; do
			if [ "$(tr '\0' ' ' 2>/dev/null <$p/cmdline | cut -d' ' -f1,2)" = "/usr/bin/waggle agent" ]; then kill -9 ${p#/proc/}; fi
		done`)
	}
	c.Eventually("every agent has been started again", func() error {
		after := c.Kubectl("-n", "kube-system", "get", "pods", "-l", "k8s-app=cilium", "-o", restarts)
		for _, pod := range strings.Fields(before) {
			if strings.Contains(after, pod) {
				return fmt.Errorf("restarts: %s", after)
			}
		}
		return nil
	})
}

func setImage(c *e2e.Test, image string) {
	c.Helper()
	c.Kubectl("-n", "kube-system", "set", "image", "daemonset/cilium", "cilium-agent="+image)
	agentsReady(c)
}

func agentsReady(c *e2e.Test) {
	c.Helper()
	c.Kubectl("-n", "kube-system", "rollout", "status", "daemonset/cilium", "--timeout=120s")
	for _, n := range c.Nodes() {
		c.Eventually("the agent of "+n, func() error {
			out := c.Attempt("-n", "kube-system", "get", "pods", "-l", "k8s-app=cilium", "--field-selector", "spec.nodeName="+n,
				"-o", `jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}`)
			if out != "True" {
				return fmt.Errorf("ready: %q", out)
			}
			return nil
		})
	}
}

// startsPods expects that new pods start and that Services learn of them.
func startsPods(c *e2e.Test) {
	c.Helper()
	begin := time.Now()
	c.Client(c.Nodes()[0]).OK(e2e.Request{URL: "http://busy"}, 200)
	c.Logf("a new pod asks after %s", time.Since(begin).Round(100*time.Millisecond))
}

// programTags are the kernel's digests of the instructions of the programs that
// a node has attached.
func programTags(c *e2e.Test, node string) string {
	c.Helper()
	return c.Sandbox("exec", node, "sh", "-c", `for l in /sys/fs/bpf/waggle/links/*; do bpftool link show pinned $l; done | sed -n 's/.*prog \([0-9]*\).*/\1/p' |
		while read id; do bpftool prog show id $id; done | sed -n 's/.* name \([^ ]*\) *tag \([^ ]*\).*/\1 \2/p' | sort -u`)
}

// loadAgent builds the agent and puts it into the sandbox under an image's name.
func loadAgent(c *e2e.Test, image string, flags ...string) {
	c.Helper()
	c.Sandbox("load-image", image, "/usr/bin/waggle="+buildAgent(c, flags...))
}

// overlay compiles the BPF programs for size instead of speed, and returns a
// file for go build -overlay that puts them in the place of the others.
func overlay(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	datapath := filepath.Join(e2e.Root(), "internal", "datapath")
	var replace []string
	for source, object := range map[string]string{"node.c": "node_bpfel.o", "envoy.c": "redirect/envoy_bpfel.o"} {
		out := filepath.Join(dir, source+".o")
		compile := exec.Command("sh", "-c", `clang-14 -Os -target bpfel -mcpu=v3 -g -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu -c "$0" -o "$1" && llvm-strip-14 -g "$1"`,
			filepath.Join(datapath, "bpf", source), out)
		if text, err := compile.CombinedOutput(); err != nil {
			t.Fatalf("compile %s: %v\n%s", source, err, text)
		}
		replace = append(replace, fmt.Sprintf("%q: %q", filepath.Join(datapath, object), out))
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, []byte(`{"Replace": {`+strings.Join(replace, ", ")+`}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}
