package l4

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/waggle-mesh/waggle/test/bench/world"
	"github.com/waggle-mesh/waggle/test/nodes"
)

// kubeProxyConfig is that of the sandbox's clusters.
const kubeProxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: %s, contentType: application/json}
clusterCIDR: %s
hostnameOverride: %s
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
nftables: {minSyncPeriod: 100ms, syncPeriod: 30s}
`

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://%s"}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {}}]
current-context: c
`

// startKubeProxy lets the real kube-proxy write its rules on a node, of
// Services that it hears of from an API server of ours.
func startKubeProxy(t testing.TB, kube string, w *world.World, n *nodes.Node) {
	t.Helper()
	address := serveAPI(t, w, n)
	dir := filepath.Join(w.Dir, n.Name)
	config, credentials := filepath.Join(dir, "kube-proxy.yaml"), filepath.Join(dir, "kubeconfig")
	cidrs := n.PodCIDR4.String() + "," + n.PodCIDR6.String()
	for path, text := range map[string]string{
		config: fmt.Sprintf(kubeProxyConfig, credentials, cidrs, n.Name), credentials: fmt.Sprintf(kubeconfig, address),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.Create(filepath.Join(dir, "kube-proxy.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	cmd := exec.Command(kube, "kube-proxy", "--config="+config)
	cmd.Stdout, cmd.Stderr = log, log
	if err := n.Start(cmd, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Errorf("kube-proxy of %s wrote:\n%s", n.Name, text)
		}
	})
}

// serveAPI serves on a port of the node's loopback address.
func serveAPI(t testing.TB, w *world.World, n *nodes.Node) string {
	t.Helper()
	var l net.Listener
	n.Do(t, func() (err error) {
		l, err = net.Listen("tcp", "127.0.0.1:6443")
		return err
	})
	server := &http.Server{Handler: newAPI(w, n)}
	go server.Serve(l)
	ctx, cancel := context.WithCancel(context.Background())
	server.BaseContext = func(net.Listener) context.Context { return ctx }
	t.Cleanup(func() {
		cancel()
		server.Close()
	})
	return l.Addr().String()
}
