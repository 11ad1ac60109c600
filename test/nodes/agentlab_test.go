package nodes

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/agent/daemon"
	"github.com/waggle-mesh/waggle/internal/ask"
	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
	"sigs.k8s.io/yaml"
)

// agentNode is a node with the product on it: `waggle agent`, its CNI plugin
// and `waggle envoy run`, and an API server of the test's in its namespace.
type agentNode struct {
	*Node
	t          *testing.T
	api        *kubetest.Server
	kubeconfig string
	dir        string // short: sockets are in it
	flags      []string
	agent      *agentProcess
	pods       map[string]*Pod
	envoys     int           // started so far
	envoy      *agentProcess // the newest of them
}

// agentProcess is a process of the product's.
type agentProcess struct {
	*exec.Cmd
	gone chan struct{}
}

// waggle is WAGGLE_BINARY, or builds the binary once.
var waggle = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("WAGGLE_BINARY"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "waggle-nodes")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "waggle")
	out, err := exec.Command("go", "build", "-o", path, "github.com/waggle-mesh/waggle/cmd/waggle").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build waggle: %w\n%s", err, out)
	}
	return path, nil
})

// newAgentNode makes the ground's first node a node of a cluster. Its agent is
// not started.
func newAgentNode(t *testing.T, g *Ground, flags ...string) *agentNode {
	n := &agentNode{Node: g.Nodes[0], t: t, flags: flags, pods: map[string]*Pod{}}
	n.dir = filepath.Join(g.Dir, n.Name)
	n.Do(t, func() error {
		n.api = kubetest.New(t)
		return nil
	})
	n.kubeconfig = n.api.Kubeconfig()
	n.apply(fmt.Sprintf(`
apiVersion: v1
kind: Node
metadata: {name: %s}
spec: {podCIDRs: [%s, "%s"]}
status: {addresses: [{type: InternalIP, address: %s}, {type: InternalIP, address: "%s"}]}
`, n.Name, n.PodCIDR4, n.PodCIDR6, n.Addr4, n.Addr6))
	n.apply("{apiVersion: v1, kind: Namespace, metadata: {name: default}}")
	return n
}

// resources are the collections of the kinds that the tests apply.
var resources = map[string]string{
	"Node": "/api/v1/nodes", "Namespace": "/api/v1/namespaces", "Pod": "/api/v1/namespaces/%s/pods",
	"Service": "/api/v1/namespaces/%s/services", "EndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/%s/endpointslices",
	"CiliumEnvoyConfig": "/apis/cilium.io/v2/namespaces/%s/ciliumenvoyconfigs",
}

func (n *agentNode) path(kind, name string) string {
	collection := resources[kind]
	if strings.Contains(collection, "%s") {
		collection = fmt.Sprintf(collection, "default")
	}
	return collection + "/" + name
}

// apply files objects, as YAML has them, in the namespace "default".
func (n *agentNode) apply(manifests string) {
	n.t.Helper()
	for text := range strings.SplitSeq(manifests, "\n---\n") {
		var object kubetest.Object
		n.must("read a manifest", yaml.Unmarshal([]byte(text), &object))
		n.api.Put(n.path(object["kind"].(string), kubetest.Meta(object)["name"].(string)), object)
	}
}

func (n *agentNode) delete(kind, name string) { n.api.Remove(n.path(kind, name)) }

func (n *agentNode) must(doing string, err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatalf("%s: %s: %v", n.Name, doing, err)
	}
}

// run starts the product with a subcommand, in a cgroup.
func (n *agentNode) run(cgroup string, args ...string) *agentProcess {
	n.t.Helper()
	binary, err := waggle()
	n.must("build the product", err)
	return n.begin(cgroup, exec.Command(binary, args...))
}

// runConfined is run by a root that may do no more than other users.
func (n *agentNode) runConfined(cgroup string, args ...string) *agentProcess {
	n.t.Helper()
	binary, err := waggle()
	n.must("build the product", err)
	return n.begin(cgroup, exec.Command("setpriv", append([]string{"--bounding-set=-all", "--inh-caps=-all", binary}, args...)...))
}

func (n *agentNode) begin(cgroup string, cmd *exec.Cmd) *agentProcess {
	n.t.Helper()
	log, err := os.OpenFile(filepath.Join(n.dir, filepath.Base(cgroup)+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	n.must("make a log", err)
	defer log.Close()
	p := &agentProcess{Cmd: cmd, gone: make(chan struct{})}
	p.Stdout, p.Stderr = log, log
	n.must("start "+cmd.String(), n.Start(p.Cmd, filepath.Join(n.Root, cgroup)))
	go func() {
		p.Wait()
		close(p.gone)
	}()
	n.t.Cleanup(func() {
		p.Process.Kill()
		<-p.gone
	})
	return p
}

// startAgent starts the agent and waits until it is ready.
func (n *agentNode) startAgent() {
	n.t.Helper()
	args := []string{
		"agent", "--node-name", n.Name, "--kubeconfig", n.kubeconfig, "--state-dir", n.stateDir(), "--lasting-dir", n.lastingDir(), "--device", "eth0",
		"--cni-bin-dir", filepath.Join(n.dir, "cni-bin"), "--cni-conf-dir", filepath.Join(n.dir, "cni-conf"),
		"--bpf-root", n.BPFFS, "--cgroup-root", n.Root, "--log-level", "info",
	}
	if n.agent == nil {
		n.t.Cleanup(func() {
			if n.t.Failed() {
				n.showLogs()
			}
		})
	}
	n.agent = n.run("agent", append(args, n.flags...)...)
	n.eventually("the agent is ready", func() bool {
		select {
		case <-n.agent.gone:
			n.t.Fatal("the agent has ended")
		default:
		}
		answer, err := ask.Open(n.t.Context(), daemon.Socket(n.stateDir()), "/ready")
		if err == nil {
			answer.Close()
		}
		return err == nil
	})
}

func (n *agentNode) stateDir() string   { return filepath.Join(n.dir, "s") }
func (n *agentNode) lastingDir() string { return filepath.Join(n.dir, "l") }

func (n *agentNode) showLogs() {
	logs, _ := filepath.Glob(filepath.Join(n.dir, "*.log"))
	for _, path := range logs {
		text, _ := os.ReadFile(path)
		if len(text) > 20000 {
			text = text[len(text)-20000:]
		}
		n.t.Logf("%s:\n%s", filepath.Base(path), text)
	}
}

// stopAgent ends the agent with a signal.
func (n *agentNode) stopAgent(with syscall.Signal) {
	n.agent.Process.Signal(with)
	<-n.agent.gone
}

// startEnvoy starts another Envoy, in a cgroup of its own.
func (n *agentNode) startEnvoy(flags ...string) *agentProcess {
	n.t.Helper()
	n.envoys++
	name := fmt.Sprintf("envoy-%d", n.envoys)
	n.envoy = n.run(name, append([]string{
		"envoy", "run", "--node-name", n.Name, "--envoy", envoyBinary(n.t), "--xds-socket", filepath.Join(daemon.EnvoyDir(n.stateDir()), "xds.sock"),
		"--dir", filepath.Join(n.dir, name), "--concurrency", "2", "--heap-bytes", "1000000000",
	}, flags...)...)
	return n.envoy
}

// command runs a subcommand of the product's to its end.
func (n *agentNode) command(args ...string) (string, error) {
	n.t.Helper()
	binary, err := waggle()
	n.must("build the product", err)
	out, err := exec.Command(binary, args...).CombinedOutput()
	return string(out), err
}

func (n *agentNode) eventually(what string, f func() bool) {
	n.t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			n.t.Fatalf("%s: not within a minute: %s", n.Name, what)
		}
	}
}

// addPod makes a pod as a kubelet does: the object, then the CNI plugin.
func (n *agentNode) addPod(name string) *Pod {
	n.t.Helper()
	n.apply(fmt.Sprintf("{apiVersion: v1, kind: Pod, metadata: {name: %s, labels: {app: %s}}, spec: {nodeName: %s}}", name, name, n.Name))
	n.pods[name] = n.AddPluggedPod(n.t, name, filepath.Join(n.dir, "cni-bin"), filepath.Join(n.dir, "cni-conf"))
	return n.pods[name]
}

// service files a dual-stack Service and its slices.
func (n *agentNode) service(name string, v4, v6 netip.Addr, port int, backends ...*Pod) {
	n.t.Helper()
	n.apply(fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %s}
spec: {clusterIP: %s, clusterIPs: [%s, "%s"], ipFamilies: [IPv4, IPv6], type: ClusterIP, ports: [{name: http, port: %d, targetPort: 80, protocol: TCP}]}
`, name, v4, v4, v6, port))
	conditions := map[string]string{}
	for _, b := range backends {
		conditions[b.Name] = "{ready: true}"
	}
	n.backends(name, conditions)
}

// backends files the slices of a Service: pods with their conditions.
func (n *agentNode) backends(service string, conditions map[string]string) {
	n.t.Helper()
	for _, family := range []int{4, 6} {
		var endpoints []string
		for _, pod := range slices.Sorted(maps.Keys(conditions)) {
			endpoints = append(endpoints, fmt.Sprintf(`{addresses: ["%s"], conditions: %s, targetRef: {kind: Pod, namespace: default, name: %s}}`, n.pods[pod].Addr(family), conditions[pod], pod))
		}
		n.apply(fmt.Sprintf(`
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %s-%d, labels: {kubernetes.io/service-name: %s}}
addressType: IPv%d
ports: [{name: http, port: 80, protocol: TCP}]
endpoints: [%s]
`, service, family, service, family, strings.Join(endpoints, ", ")))
	}
}

// webListener takes HTTP for RouteConfiguration "web".
const webListener = `  - "@type": type.googleapis.com/envoy.config.listener.v3.Listener
    name: web
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          rds: {route_config_name: web, config_source: {ads: {}, resource_api_version: V3}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
`

// webConfig leads the Service "web" to a listener that adds a header.
const webConfig = `
apiVersion: cilium.io/v2
kind: CiliumEnvoyConfig
metadata: {name: web}
spec:
  services: [{name: web, namespace: default, listener: web}]
  backendServices: [{name: web, namespace: default, number: ["80"]}]
  resources:
` + webListener + `  - "@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
    name: web
    virtual_hosts:
    - name: any
      domains: ["*"]
      routes: [{match: {prefix: "/"}, route: {cluster: "default/web:80"}}]
      request_headers_to_add: [{header: {key: x-by, value: envoy}}]
  - "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
    name: "default/web:80"
    type: EDS
    connect_timeout: 5s
    eds_cluster_config: {eds_config: {ads: {}, resource_api_version: V3}}
`

var web4, web6 = netip.MustParseAddr("10.96.1.1"), netip.MustParseAddr("fd96::1:1")

// agentLab is a node with clients a and c, server b, and the Service "web" with
// b behind it, which is led to Envoy.
func agentLab(t *testing.T, flags ...string) (n *agentNode, a, c, b *Pod) {
	n = newAgentNode(t, New(t), flags...)
	n.startAgent()
	a, c, b = n.addPod("a"), n.addPod("c"), n.addPod("b")
	b.Serve(t, ServeRequest{Address: ":80"})
	n.service("web", web4, web6, 80, b)
	return n, a, c, b
}

// byEnvoy waits until requests from a pod go through Envoy.
func (n *agentNode) byEnvoy(from *Pod) {
	n.t.Helper()
	for _, vip := range []netip.Addr{web4, web6} {
		n.eventually("requests go through Envoy", func() bool {
			r := from.Get(n.t, url(vip, "/"))
			return r.Status == 200 && r.Echo.Header.Get("X-By") == "envoy"
		})
	}
}
