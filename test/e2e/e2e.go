// Package e2e is the library of the end-to-end tests: a test applies manifests
// to a real cluster, waits, makes requests from where users are, and says what
// it expects. One screen per test.
//
//	func TestMain(m *testing.M) { e2e.Main(m) }
//
//	func TestBookstore(t *testing.T) {
//		c := e2e.New(t)
//		c.Apply("testdata/bookstore.yaml")
//		c.Wait("deployment/bookstore-v1", "Available")
//		got := c.Client("n1").Do(e2e.Request{URL: "http://bookstore:8080", Count: 1600})
//		c.Shares(got, map[string]float64{"v1": 50, "v2": 50}, 5)
//	}
//
// All test packages share the cluster that SANDBOX_NAME names (default "e2e"),
// which Main brings up if it is not up. Every test has a namespace of its own.
// What a failed test left in the cluster is collected into a folder.
package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Test is one test with its namespace. Its methods end the test when they fail.
type Test struct {
	*testing.T
	Namespace string

	dir string // what Apply's paths are relative to
}

// New makes a namespace for the test, which is removed at its end.
func New(t *testing.T) *Test {
	t.Helper()
	c := attach(t, namespaceOf(t.Name()))
	c.Kubectl("create", "namespace", c.Namespace)
	t.Cleanup(func() { _, _ = c.try("delete", "namespace", c.Namespace, "--wait=false") })
	t.Cleanup(c.collectIfFailed)
	return c
}

// In is a test in a namespace that exists and stays, for manifests that name
// one. What Apply has made there is deleted at the test's end.
func In(t *testing.T, namespace string) *Test {
	t.Helper()
	c := attach(t, namespace)
	t.Cleanup(c.collectIfFailed)
	return c
}

func attach(t *testing.T, namespace string) *Test {
	t.Helper()
	if sandbox.kubeconfig == "" {
		t.Fatal("no cluster: the package's TestMain must call e2e.Main")
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return &Test{T: t, Namespace: namespace, dir: dir}
}

var namespaces atomic.Int64

// namespaceOf is a name that says which test it is and that no other has.
func namespaceOf(test string) string {
	name := regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(strings.TrimPrefix(test, "Test")), "-")
	name = strings.Trim(name[:min(len(name), 40)], "-")
	return fmt.Sprintf("%s-%x-%d", name, os.Getpid(), namespaces.Add(1))
}

// sandbox is the cluster that all tests of this process use.
var sandbox struct {
	program    string // the supervisor
	kube       string // holds kubectl
	probe      string // the client, for use outside of pods
	dir        string // its state
	kubeconfig string
}

// Main runs a package's tests against the cluster and exits. The flags are those
// of "sandbox up", for a cluster that must be brought up; one that is up stays as
// it is.
func Main(m *testing.M, flags ...string) {
	if err := open(flags); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// Root is the folder of the project.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

func open(flags []string) error {
	if os.Getenv("SANDBOX_NAME") == "" {
		if err := os.Setenv("SANDBOX_NAME", "e2e"); err != nil {
			return err
		}
	}
	sandbox.program = os.Getenv("SANDBOX")
	if sandbox.program == "" {
		dir, err := os.MkdirTemp("", "waggle-e2e-")
		if err != nil {
			return err
		}
		sandbox.program = filepath.Join(dir, "sandbox")
		if out, err := exec.Command("go", "build", "-C", filepath.Join(Root(), "sandbox"), "-o", sandbox.program, ".").CombinedOutput(); err != nil {
			return fmt.Errorf("build the sandbox: %w\n%s", err, out)
		}
	}
	if exec.Command(sandbox.program, "wait").Run() != nil {
		up := exec.Command(sandbox.program, append([]string{"up", "-images", "e2e"}, flags...)...)
		up.Stdout, up.Stderr = os.Stderr, os.Stderr
		if err := up.Run(); err != nil {
			return fmt.Errorf("sandbox up: %w", err)
		}
	}
	env, err := exec.Command(sandbox.program, "env").Output()
	if err != nil {
		return fmt.Errorf("sandbox env: %w", err)
	}
	for _, f := range strings.Fields(string(env)) {
		switch k, v, _ := strings.Cut(f, "="); k {
		case "KUBECONFIG":
			sandbox.kubeconfig = v
		case "SANDBOX_DIR":
			sandbox.dir = v
		case "SANDBOX_CACHE":
			sandbox.kube, sandbox.probe = filepath.Join(v, "bin", "kube"), filepath.Join(v, "bin", "probe")
		}
	}
	return os.Setenv("KUBECONFIG", sandbox.kubeconfig)
}

// Kubectl runs kubectl in the test's namespace and returns what it printed.
func (c *Test) Kubectl(args ...string) string {
	c.Helper()
	out, err := c.try(args...)
	if err != nil {
		c.Fatal(err)
	}
	return out
}

func (c *Test) try(args ...string) (string, error) { return c.tryIn("", args...) }

func (c *Test) tryIn(stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, sandbox.kube, append([]string{"kubectl", "--namespace", c.Namespace}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s%s", strings.Join(args, " "), err, strings.TrimSpace(errs.String()), strings.TrimSpace(out.String()))
	}
	return strings.TrimRight(out.String(), "\n"), nil
}

// Sandbox runs one of the sandbox's commands: kill n2, start n2, stop-apiserver, ...
func (c *Test) Sandbox(args ...string) string {
	c.Helper()
	out, err := c.SandboxCommand(args...).CombinedOutput()
	if err != nil {
		c.Fatalf("sandbox %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimRight(string(out), "\n")
}

// SandboxCommand is one of the sandbox's commands, not yet run.
func (c *Test) SandboxCommand(args ...string) *exec.Cmd {
	return exec.Command(sandbox.program, args...)
}

// Kubeconfig is a file that makes its reader the cluster's administrator.
func (c *Test) Kubeconfig() string { return sandbox.kubeconfig }

// Nodes lists the cluster's nodes.
func (c *Test) Nodes() []string {
	c.Helper()
	return strings.Fields(c.Kubectl("get", "nodes", "-o", "jsonpath={.items[*].metadata.name}"))
}

// NodeIP is a node's address in the cluster's primary family.
func (c *Test) NodeIP(node string) string { return c.NodeIPs(node)[0] }

// NodeIPs are a node's addresses, in the order of Families.
func (c *Test) NodeIPs(node string) []string {
	c.Helper()
	return strings.Fields(c.Get("node/"+node, "{.status.addresses[?(@.type=='InternalIP')].address}"))
}

// Acceptance finds files of the acceptance scenarios, which lie beside the
// project or where ACCEPTANCE says. Where there are none it returns none, for
// tests that have an example of the project's own besides; but what ACCEPTANCE
// names must have them.
func Acceptance(t *testing.T, pattern string) []string {
	t.Helper()
	given := os.Getenv("ACCEPTANCE")
	dir := cmp.Or(given, filepath.Join(filepath.Dir(Root()), "shared", "acceptance"))
	files, err := filepath.Glob(filepath.Join(dir, "seeds", pattern))
	if err != nil || given != "" && len(files) == 0 {
		t.Fatalf("ACCEPTANCE=%s has no seeds/%s: %v", given, pattern, err)
	}
	return files
}

// HostPort joins an address of either family and a port for a URL.
func HostPort(ip, port string) string { return net.JoinHostPort(ip, port) }

var loadBalancers atomic.Int64

// FreeLoadBalancerIP is an address of the sandbox's LoadBalancer range, of its
// primary family, that no other test of this process has, for as long as nothing
// in the cluster gives them out.
func (c *Test) FreeLoadBalancerIP() string {
	c.Helper()
	ip := c.plan().LBCIDRs[0].Addr()
	for range 100 + loadBalancers.Add(1) {
		ip = ip.Next()
	}
	return ip.String()
}

// Families are those of the cluster's Services, the primary first, as a
// Service's ipFamilies spells them: IPv4, IPv6.
func (c *Test) Families() (list []string) {
	c.Helper()
	for _, p := range c.plan().NodeCIDRs {
		if p.Addr().Is6() {
			list = append(list, "IPv6")
		} else {
			list = append(list, "IPv4")
		}
	}
	return list
}

// plan is what the sandbox says of itself.
func (c *Test) plan() (p struct{ NodeCIDRs, LBCIDRs []netip.Prefix }) {
	c.Helper()
	b, err := os.ReadFile(filepath.Join(sandbox.dir, "plan.json"))
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil {
		c.Fatal(err)
	}
	return p
}
