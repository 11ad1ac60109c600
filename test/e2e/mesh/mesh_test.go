// Package mesh tests the mesh on a cluster that the chart was installed in:
// Gateways, CiliumEnvoyConfigs, what they say of themselves, and what happens
// while parts of the mesh end and begin. The scenarios run with the project's
// own manifests, and, where they are, with those of the acceptance scenarios.
package mesh

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/test/e2e"
)

func TestMain(m *testing.M) { e2e.Main(m, "-cni-conf", "none", "-kube-proxy", "none") }

// throws is how many requests make 5 points four standard deviations when a
// proxy throws dice for each: wrong once in 16,000 runs.
const throws = 1600

// seed is a folder of manifests, one below it for each scenario.
type seed string

func (s seed) file(name string) string { return filepath.Join(string(s), name) }

func (s seed) text(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(s.file(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// scenario runs a test with the project's own manifests, and with the
// acceptance scenarios' where they have the folder.
func scenario(t *testing.T, folder string, run func(c *e2e.Test, s seed)) {
	t.Helper()
	t.Run("own", func(t *testing.T) { run(e2e.In(t, "default"), own(t)) })
	for _, dir := range e2e.Acceptance(t, folder) {
		t.Run("acceptance", func(t *testing.T) { run(e2e.In(t, "default"), seed(filepath.Dir(dir))) })
	}
}

// own are the project's manifests.
func own(t testing.TB) seed {
	t.Helper()
	dir, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	return seed(dir)
}

// equal is nil, or says what is there and what should be.
func equal(got, want string) error {
	if got != want {
		return fmt.Errorf("%q, want %q", got, want)
	}
	return nil
}

// config sets one setting of all operators until the test ends.
func config(c *e2e.Test, name, value string) {
	c.Helper()
	before := c.Kubectl("-n", "kube-system", "get", "configmap/cilium-config", "-o", "jsonpath={.data."+name+"}")
	set := func(value string) {
		c.Kubectl("-n", "kube-system", "patch", "configmap/cilium-config", "-p", fmt.Sprintf(`{"data":{%q:%q}}`, name, value))
		c.Kubectl("-n", "kube-system", "rollout", "restart", "deployment/cilium-operator")
		c.Kubectl("-n", "kube-system", "rollout", "status", "deployment/cilium-operator", "--timeout=120s")
	}
	c.Cleanup(func() { set(before) })
	set(value)
}

// addressOf waits until a Gateway is programmed, and returns its address.
func addressOf(c *e2e.Test, gateway string) string {
	c.Helper()
	c.Wait("gateway/"+gateway, "Programmed")
	return c.Get("gateway/"+gateway, "{.status.addresses[0].value}")
}

// base is the URL of an address of either family.
func base(address string) string {
	if strings.Contains(address, ":") {
		return "http://[" + address + "]"
	}
	return "http://" + address
}

// publicIP is an address of the Internet, which the client outside has from now on.
// RFC 5737 and 3849 keep such addresses.
func publicIP(c *e2e.Test) string {
	c.Helper()
	ip := map[string]string{"IPv4": "203.0.113.7", "IPv6": "2001:db8::7"}[c.Families()[0]]
	c.Sandbox("exec", "ext", "ip", "address", "replace", ip, "dev", "lo")
	return ip
}

// everywhere are the places that requests come from: outside, a node, and a pod
// on each node.
func everywhere(c *e2e.Test) []*e2e.Source {
	c.Helper()
	nodes := c.Nodes()
	places := []*e2e.Source{c.From("ext"), c.From(nodes[0])}
	for _, n := range nodes {
		places = append(places, c.Client(n))
	}
	return places
}

// enterAt has the client outside send what is for an address to a node. Without
// it the sandbox sends it to the first.
func enterAt(c *e2e.Test, address, node string) {
	c.Helper()
	c.Sandbox("exec", "ext", "ip", "route", "replace", address, "via", c.NodeIP(node))
	c.Cleanup(func() { c.Sandbox("exec", "ext", "ip", "route", "flush", address) })
}

// namespace is a test in a namespace of that name, which is made anew.
func namespace(t *testing.T, name string) *e2e.Test {
	t.Helper()
	c := e2e.In(t, name)
	c.Eventually("an earlier test's namespace "+name+" is gone", func() error {
		if phase := c.Get("namespace", fmt.Sprintf("{.items[?(@.metadata.name==%q)].status.phase}", name)); phase != "" {
			return fmt.Errorf("it is %s", phase)
		}
		return nil
	})
	c.Kubectl("create", "namespace", name)
	c.Cleanup(func() { c.Attempt("delete", "namespace", name, "--wait=false") })
	return c
}

// application runs the Services echo-service-1 and echo-service-2.
func application(c *e2e.Test) {
	c.Helper()
	c.Apply("testdata/application.yaml")
	c.Wait("deployment/echo-service-1", "Available")
	c.Wait("deployment/echo-service-2", "Available")
}

// clientOf is the address that a request came from: of a node, which connects to
// its Envoy past the network, the node's.
func clientOf(c *e2e.Test, from *e2e.Source, r e2e.Response) string {
	c.Helper()
	if slices.Contains(c.Nodes(), from.Name()) {
		return c.NodeIP(from.Name())
	}
	return r.Client()
}

// sees expects a backend to have got a header.
func sees(c *e2e.Test, r e2e.Response, header, want string) {
	c.Helper()
	if got := r.Seen(header); got != want {
		c.Errorf("the backend sees %s %q, want %q, for a client at %s", header, got, want, r.Client())
	}
}

// envoyed waits until an answer comes through Envoy, or, if not wanted, past it.
func envoyed(s *e2e.Source, c *e2e.Test, url string, want bool) {
	c.Helper()
	c.Eventually(fmt.Sprintf("%s through Envoy: %t", url, want), func() error {
		r := s.Get(url)
		if got := r.Headers.Get("Server") == "envoy"; r.Error != "" || got != want {
			return fmt.Errorf("%d %s %v", r.Status, r.Error, r.Headers)
		}
		return nil
	})
}

// column is what kubectl prints of an object in the column of that title.
func column(c *e2e.Test, object, title string) string {
	c.Helper()
	lines := strings.Split(c.Kubectl("get", object), "\n")
	at := strings.Index(lines[0], title)
	if at < 0 || len(lines) < 2 {
		c.Fatalf("no column %s:\n%s", title, strings.Join(lines, "\n"))
	}
	value, _, _ := strings.Cut(lines[1][min(at, len(lines[1])):], " ")
	return value
}
