package daemon

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
)

// TestCleanup takes away what an agent has made, on the node and of the API
// server, and nothing else; while an agent runs it does nothing.
func TestCleanup(t *testing.T) {
	g := newGround(t)
	const endpoints = "/apis/cilium.io/v2/namespaces/default/ciliumendpoints/"
	g.Put(endpoints+"elsewhere", kubetest.Object{"status": kubetest.Object{"networking": kubetest.Object{"node": "192.168.78.2", "addressing": []any{}}}})
	g.node(both)
	look := func() string {
		return g.Run(t, "ip", "-o", "link") + g.Run(t, "ip", "-o", "addr", "show", "dev", "lo") + g.Run(t, "ip", "rule") + g.Run(t, "ip", "route") + g.Run(t, "ip", "-6", "route") + g.Run(t, "ip", "route", "show", "table", "local", "proto", "87") +
			g.Run(t, "sysctl", "net.ipv4.ip_forward", "net.ipv4.ip_local_port_range", "net.ipv4.conf.all.rp_filter", "net.ipv6.conf.all.forwarding")
	}
	before := look()
	a := g.start(g.settings)
	a.ready()
	if _, err := g.pod("web"); err != nil {
		t.Fatal(err)
	}
	annotated := func() bool { return len(asObject(kubetest.Meta(g.Get("/api/v1/nodes/n1"))["annotations"])) > 0 }
	g.until("its pod is published", func(*Status) bool { return g.Get(endpoints+"web") != nil && annotated() })
	if asked := g.Asked(); !slices.Contains(asked, "PATCH /api/v1/nodes/n1/status") || slices.Contains(asked, "PATCH /api/v1/nodes/n1") {
		t.Errorf("it writes its Node otherwise than it may: %q", asked)
	}
	g.startAs("cleanup", g.settings).ends("an agent runs on this node")
	a.kill()
	if err := os.MkdirAll(filepath.Join(g.settings.lasting(), "configs", "of an object"), 0o700); err != nil {
		t.Fatal(err)
	}
	if c := g.startAs("cleanup", g.settings); true {
		if <-c.ended; c.status != nil {
			t.Fatalf("cleanup: %v\n%s", c.status, c.said)
		}
	}
	if left := g.Paths(endpoints); len(left) != 1 || filepath.Base(left[0]) != "elsewhere" {
		t.Errorf("CiliumEndpoints %q", left)
	}
	if annotated() {
		t.Errorf("annotations %v", g.Get("/api/v1/nodes/n1"))
	}
	if after := look(); after != before {
		t.Errorf("the node has\n%s\nhad\n%s", after, before)
	}
	for _, path := range []string{filepath.Join(g.BPFFS, "waggle"), g.settings.Dir, g.settings.lasting()} {
		if files, err := os.ReadDir(path); err == nil {
			t.Errorf("%s is there, with %v", path, files)
		}
	}
}

// TestCleanupOfOthers: a directory that is not an agent's keeps what is in it.
func TestCleanupOfOthers(t *testing.T) {
	g := newGround(t)
	kept := filepath.Join(g.settings.Dir, "containerd", "state")
	if err := os.MkdirAll(kept, 0o755); err != nil {
		t.Fatal(err)
	}
	c := g.startAs("cleanup", g.settings)
	c.ends("no agent has had it")
	if files, err := os.ReadDir(g.settings.Dir); err != nil || len(files) != 1 {
		t.Errorf("left are %v, %v", files, err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
}

func asObject(v any) kubetest.Object {
	o, _ := v.(kubetest.Object)
	return o
}
