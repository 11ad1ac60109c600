// Package cluster is a Kubernetes cluster for benchmarks: a real etcd and API
// server, `waggle operator`, and a node with `waggle agent` and its Envoy, each
// a process in a network namespace of package nodes, with a client outside.
//
// There are no kubelets and no controllers: who measures files what they would
// have filed, and the node's pods are made by the agent's CNI plugin. The
// second machine of the ground has the API server and the operator.
package cluster

import (
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/waggle-mesh/waggle/chart"
	"github.com/waggle-mesh/waggle/internal/agent/daemon"
	"github.com/waggle-mesh/waggle/internal/agent/proxy"
	"github.com/waggle-mesh/waggle/internal/ask"
	"github.com/waggle-mesh/waggle/internal/envoy"
	operator "github.com/waggle-mesh/waggle/internal/operator/daemon"
	"github.com/waggle-mesh/waggle/test/bench/load"
	"github.com/waggle-mesh/waggle/test/bench/measure"
	"github.com/waggle-mesh/waggle/test/bench/world"
	"github.com/waggle-mesh/waggle/test/nodes"
)

// Options are the programs, and how Envoy runs.
type Options struct {
	Binaries measure.Binaries
	Kube     string // the sandbox's program that is etcd and the API server
	// OnLoadsCore keeps Envoy on the core of the load, with one worker.
	OnLoadsCore bool
}

// Cluster is a running one.
type Cluster struct {
	*nodes.Ground
	API  *API
	Node *nodes.Node // where the agent and Envoy run

	Operator, Agent, Envoy *Process
	Server                 *Process // the API server

	o          Options
	t          testing.TB
	dir        string // of files and sockets
	kubeconfig string
	envoys     int // started so far
}

// pool is where LoadBalancer addresses come from.
const pool = "172.30.78.0/24"

// New starts a control plane with the kinds that Waggle needs, and the objects
// of a node. Of Waggle nothing runs yet.
func New(t testing.TB, o Options) *Cluster {
	g := nodes.New(t)
	c := &Cluster{Ground: g, Node: g.Nodes[0], o: o, t: t, dir: filepath.Join(g.Dir, "c")}
	c.must("make a folder", os.MkdirAll(c.dir, 0o700))
	c.must("start the control plane", c.startControlPlane())
	c.must("install kinds", c.installKinds())
	c.must("file the node", c.fileNode())
	g.Client.Run(t, "ip", "route", "add", pool, "via", c.Node.Addr4.String())
	return c
}

func (c *Cluster) must(doing string, err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("%s: %v", doing, err)
	}
}

// installKinds files the definitions of the chart and of the Gateway API.
func (c *Cluster) installKinds() error {
	standard, err := gatewayAPI()
	if err != nil {
		return err
	}
	own, err := fs.Sub(chart.Waggle, "waggle/files/crds")
	if err != nil {
		return err
	}
	var names []string
	for _, from := range []fs.FS{own, standard} {
		files, err := fs.Glob(from, "*s.yaml") // the last is a policy, of several documents
		if err != nil {
			return err
		}
		for _, file := range files {
			text, err := fs.ReadFile(from, file)
			if err != nil {
				return err
			}
			var definition Object
			if err := yaml.Unmarshal(text, &definition); err != nil {
				return fmt.Errorf("read %s: %w", file, err)
			}
			if definition["kind"] != "CustomResourceDefinition" {
				continue
			}
			if err := c.API.Create(definitions, definition); err != nil {
				return err
			}
			names = append(names, definition["metadata"].(Object)["name"].(string))
		}
	}
	for _, name := range names {
		if err := Until(c.t.Context(), time.Minute, name+" is served", func() error { return c.established(name) }); err != nil {
			return err
		}
	}
	return nil
}

const definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

func (c *Cluster) established(name string) error {
	var d struct {
		Status struct {
			Conditions []struct{ Type, Status string }
		}
	}
	if err := c.API.Get(definitions+"/"+name, &d); err != nil {
		return err
	}
	for _, condition := range d.Status.Conditions {
		if condition.Type == "Established" && condition.Status == "True" {
			return nil
		}
	}
	return fmt.Errorf("its conditions are %v", d.Status.Conditions)
}

// gatewayAPI has the definitions of the Gateway API's standard channel.
func gatewayAPI() (fs.FS, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").Output()
	if err != nil {
		return nil, fmt.Errorf("find the Gateway API's module: %w", err)
	}
	return os.DirFS(filepath.Join(strings.TrimSpace(string(out)), "config/crd/standard")), nil
}

// fileNode files what a kubelet and an administrator would.
func (c *Cluster) fileNode() error {
	n := c.Node
	for collection, object := range map[string]Object{
		"/api/v1/namespaces": {"metadata": Object{"name": "cilium-secrets"}},
		"/api/v1/nodes": {
			"metadata": Object{"name": n.Name},
			"spec":     Object{"podCIDR": n.PodCIDR4.String(), "podCIDRs": []string{n.PodCIDR4.String(), n.PodCIDR6.String()}},
			"status": Object{
				"addresses":  []Object{{"type": "InternalIP", "address": n.Addr4.String()}, {"type": "InternalIP", "address": n.Addr6.String()}},
				"conditions": []Object{{"type": "Ready", "status": "True", "reason": "Filed", "lastHeartbeatTime": time.Now().UTC().Format(time.RFC3339)}},
			},
		},
		"/apis/gateway.networking.k8s.io/v1/gatewayclasses": {
			"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": Object{"name": "cilium"},
			"spec": Object{"controllerName": operator.Controller},
		},
		"/apis/cilium.io/v2/ciliumloadbalancerippools": {
			"apiVersion": "cilium.io/v2", "kind": "CiliumLoadBalancerIPPool", "metadata": Object{"name": "pool"},
			"spec": Object{"blocks": []Object{{"cidr": pool}}},
		},
	} {
		if err := c.API.Create(collection, object); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) operatorDir() string { return filepath.Join(c.dir, "o") }

// StartOperator starts the operator and waits until it has read everything and
// writes.
func (c *Cluster) StartOperator() {
	c.t.Helper()
	cmd := exec.Command(c.o.Binaries.Waggle, "operator", "--kubeconfig", c.kubeconfig, "--state-dir", c.operatorDir(),
		"--operator-api-serve-addr", "", "--log-level", "warn")
	var err error
	c.Operator, err = c.start(&c.Nodes[1].Machine, "", "operator", cmd)
	c.must("start the operator", err)
	c.must("start the operator", Until(c.t.Context(), 2*time.Minute, "the operator leads", func() error {
		if err := c.Operator.alive(); err != nil {
			return err
		}
		var s operator.Status
		if err := ask.Get(c.t.Context(), operator.Socket(c.operatorDir()), "/status", &s); err != nil {
			return err
		}
		if !s.Leads {
			return fmt.Errorf("it does not lead; kinds: %+v", s.Kinds)
		}
		return nil
	}))
}

func (c *Cluster) agentDir() string { return filepath.Join(c.dir, "s") }

// AgentSocket answers questions to the agent.
func (c *Cluster) AgentSocket() string { return daemon.Socket(c.agentDir()) }

// StartAgent starts the node's agent and waits until it is ready.
func (c *Cluster) StartAgent() {
	c.t.Helper()
	n := c.Node
	cmd := exec.Command(c.o.Binaries.Waggle, "agent", "--node-name", n.Name, "--kubeconfig", c.kubeconfig, "--state-dir", c.agentDir(),
		"--lasting-dir", filepath.Join(c.dir, "l"), "--device", "eth0", "--cni-bin-dir", c.cniBin(), "--cni-conf-dir", c.cniConf(),
		"--bpf-root", n.BPFFS, "--cgroup-root", n.Root, "--log-level", "warn")
	var err error
	c.Agent, err = c.start(&n.Machine, filepath.Join(n.Root, "agent"), "agent", cmd)
	c.must("start the agent", err)
	c.must("start the agent", Until(c.t.Context(), 2*time.Minute, "the agent is ready", func() error {
		if err := c.Agent.alive(); err != nil {
			return err
		}
		answer, err := ask.Open(c.t.Context(), c.AgentSocket(), "/ready")
		if err == nil {
			answer.Close()
		}
		return err
	}))
}

func (c *Cluster) cniBin() string  { return filepath.Join(c.dir, "cni-bin") }
func (c *Cluster) cniConf() string { return filepath.Join(c.dir, "cni-conf") }

// StartEnvoy starts an Envoy of the node. While another one runs, it takes that
// one's place.
func (c *Cluster) StartEnvoy() {
	c.t.Helper()
	c.envoys++
	name := fmt.Sprintf("envoy-%d", c.envoys)
	args := []string{"envoy", "run", "--node-name", c.Node.Name, "--envoy", c.o.Binaries.Envoy,
		"--xds-socket", filepath.Join(daemon.EnvoyDir(c.agentDir()), "xds.sock"), "--dir", c.envoyDir(), "--heap-bytes", "4000000000"}
	waggle, err := filepath.Abs(c.o.Binaries.Waggle)
	c.must("find waggle", err)
	cmd := exec.Command(waggle, append(args, "--concurrency", "2")...)
	if c.o.OnLoadsCore {
		cmd = load.Command(world.Core(), waggle, append(args, "--concurrency", "1")...)
	}
	c.Envoy, err = c.start(&c.Node.Machine, filepath.Join(c.Node.Root, name), name, cmd)
	c.must("start Envoy", err)
}

// Admin is the newest Envoy's administration.
func (c *Cluster) Admin() *envoy.Admin {
	return envoy.NewAdmin(filepath.Join(c.envoyDir(), proxy.Admin))
}

func (c *Cluster) envoyDir() string { return filepath.Join(c.dir, fmt.Sprintf("e%d", c.envoys)) }

// AddPod makes a pod on the node.
func (c *Cluster) AddPod(name string) *nodes.Pod {
	c.t.Helper()
	c.must("file a pod", c.API.Create("/api/v1/namespaces/default/pods", Object{
		"metadata": Object{"name": name, "labels": Object{"app": name}},
		"spec":     Object{"nodeName": c.Node.Name, "containers": []Object{{"name": "c", "image": "none"}}},
	}))
	return c.Node.AddPluggedPod(c.t, name, c.cniBin(), c.cniConf())
}

// Services are the collections of Services and EndpointSlices.
const (
	Services       = "/api/v1/namespaces/default/services"
	EndpointSlices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
)

// AddService files a Service and the slice of its backends, at port 80.
func (c *Cluster) AddService(name string, backends ...netip.Addr) error {
	err := c.API.Create(Services, Object{
		"metadata": Object{"name": name}, "spec": Object{"ports": []Object{{"port": 80}}},
	})
	if err != nil {
		return err
	}
	return c.API.Create(EndpointSlices, Object{
		"metadata": Object{"name": name, "labels": Object{"kubernetes.io/service-name": name}}, "addressType": "IPv4",
		"ports": []Object{{"name": "", "port": 80}}, "endpoints": Endpoints(backends...),
	})
}

// Endpoints are those of a slice.
func Endpoints(backends ...netip.Addr) []Object {
	all := []Object{}
	for _, b := range backends {
		all = append(all, Object{"addresses": []string{b.String()}, "conditions": Object{"ready": true}})
	}
	return all
}

// Gateways are the collections of the Gateway API.
const (
	Gateways   = "/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways"
	HTTPRoutes = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes"
)

// AddGateway files a Gateway with a listener at port 80, and gives the address
// at which it will answer.
func (c *Cluster) AddGateway(name string) netip.AddrPort {
	c.t.Helper()
	c.must("file a Gateway", c.API.Create(Gateways, Object{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": Object{"name": name},
		"spec": Object{"gatewayClassName": "cilium", "listeners": []Object{{"name": "http", "port": 80, "protocol": "HTTP"}}},
	}))
	var at netip.Addr
	c.must("await the Gateway", Until(c.t.Context(), time.Minute, "the Gateway has an address", func() (err error) {
		var g struct {
			Status struct{ Addresses []struct{ Value string } }
		}
		if err := c.API.Get(Gateways+"/"+name, &g); err != nil {
			return err
		}
		if len(g.Status.Addresses) == 0 {
			return fmt.Errorf("it has none")
		}
		at, err = netip.ParseAddr(g.Status.Addresses[0].Value)
		return err
	}))
	return netip.AddrPortFrom(at, 80)
}

// T is the benchmark that the cluster lives in.
func (c *Cluster) T() testing.TB { return c.t }
