package e2e

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// collectIfFailed writes what a failed test left in the cluster into a folder
// of E2E_ARTIFACTS (default: waggle-e2e in the temporary folder) and names it.
func (c *Test) collectIfFailed() {
	if !c.Failed() {
		return
	}
	dir := filepath.Join(cmp.Or(os.Getenv("E2E_ARTIFACTS"), filepath.Join(os.TempDir(), "waggle-e2e")), c.Namespace)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		c.Log(err)
		return
	}
	write := func(name, text string, err error) {
		if err != nil {
			text += "\n" + err.Error()
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			c.Log(err)
		}
	}
	for name, args := range map[string]string{
		"objects.yaml":   "get all,configmaps,endpointslices,ingresses -o yaml",
		"objects.txt":    "get all,endpointslices -o wide",
		"events.txt":     "get events --sort-by=.lastTimestamp",
		"pods.txt":       "describe pods",
		"all-pods.txt":   "get pods --all-namespaces -o wide",
		"all-nodes.yaml": "get nodes -o yaml",
	} {
		out, err := c.try(strings.Fields(args)...)
		write(name, out, err)
	}
	if gateways, err := c.try("get", "gateways,httproutes,grpcroutes,ciliumenvoyconfigs", "-o", "yaml"); err == nil {
		write("gateways.yaml", gateways, nil)
	}
	for _, ns := range []string{c.Namespace, "kube-system"} {
		in := &Test{T: c.T, Namespace: ns}
		pods, _ := in.try("get", "pods", "-o", "name")
		for _, pod := range strings.Fields(pods) {
			out, err := in.try("logs", pod, "--all-containers", "--prefix", "--tail=1000")
			write(ns+"-"+strings.TrimPrefix(pod, "pod/")+".log", out, err)
			if old, err := in.try("logs", pod, "--all-containers", "--prefix", "--previous"); err == nil && old != "" {
				write(ns+"-"+strings.TrimPrefix(pod, "pod/")+".previous.log", old, nil)
			}
		}
	}
	out, err := exec.Command(sandbox.program, "status").CombinedOutput()
	write("sandbox.txt", string(out), err)
	c.Logf("logs and objects of the failed test: %s", dir)
}
