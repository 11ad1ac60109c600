// Package install tests Waggle's life in a cluster that has none: installed by an
// older build, upgraded, told otherwise, looked at, removed without a trace.
//
//	OLD_WAGGLE, OLD_IMAGE   the older build: a program with its chart, and an archive
//	WAGGLE, WAGGLE_IMAGE    the build that is tested
package install

import (
	"archive/zip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/test/e2e"
	"github.com/waggle-mesh/waggle/test/e2e/site"
)

func TestMain(m *testing.M) {
	e2e.Main(m, "-nodes", "3", "-cni-conf", "none", "-kube-proxy", "none", "-gateway-api", "standard")
}

const system = "kube-system"

// build is one that can be installed.
type build struct {
	c              *e2e.Test
	program, image string // the path, and the digest of what is in the sandbox's registry
}

// buildOf is the one that two variables of the environment name.
func buildOf(c *e2e.Test, program, image string) build {
	c.Helper()
	for _, name := range []string{program, image} {
		if _, err := os.Stat(os.Getenv(name)); err != nil {
			c.Fatalf("%s names no file (make e2e-install sets it): %v", name, err)
		}
	}
	loaded := strings.Fields(c.Sandbox("load-archive", os.Getenv(image)))
	return build{c, os.Getenv(program), loaded[len(loaded)-1]}
}

// run runs a command of the build's program, and returns what it printed.
func (b build) run(args ...string) string {
	b.c.Helper()
	out, err := exec.Command(b.program, args...).CombinedOutput()
	if err != nil {
		b.c.Fatalf("waggle %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestLife(t *testing.T) {
	c := e2e.In(t, system)
	older, newer := buildOf(c, "OLD_WAGGLE", "OLD_IMAGE"), buildOf(c, "WAGGLE", "WAGGLE_IMAGE")
	if older.image == newer.image {
		t.Fatal("both builds are the same")
	}
	empty := look(c)

	older.run("install", "--set", "gatewayAPI.enabled=true,envoyConfig.enabled=true,image.digest="+older.image)
	c.Kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=60s")
	c.Kubectl("rollout", "status", "deployment/coredns", "--timeout=60s")
	pool(c)
	if grown := look(c).beyond(empty); !strings.Contains(grown, "from_pod") || !strings.Contains(grown, "ciliumenvoyconfigs") {
		t.Errorf("what is installed leaves only these traces:\n%s", grown)
	}
	t.Run("used", func(t *testing.T) {
		s := site.New(t)
		t.Run("upgraded", func(t *testing.T) {
			traffic := s.On(t).Begin(true)
			newer.run("upgrade", "--set", "image.digest="+newer.image)
			newer.run("status", "--wait")
			traffic.Unharmed()
			images(s.On(t), newer.image)
		})
		t.Run("by other values", func(t *testing.T) { byOtherValues(s.On(t), newer) })
		t.Run("told otherwise", func(t *testing.T) { toldOtherwise(s.On(t), newer) })
		t.Run("looked at", func(t *testing.T) { lookedAt(s.On(t), newer) })
	})

	// Pods that have no network any more would not end.
	c.Kubectl("delete", "ciliumloadbalancerippool/sandbox")
	c.Kubectl("scale", "deployment/coredns", "--replicas=0")
	c.Eventually("no pods but the nodes' own, and nobody's objects", func() error {
		pods := c.Kubectl("get", "pods", "--all-namespaces", "-o", `jsonpath={range .items[?(@.spec.hostNetwork!=true)]}{.metadata.name} {end}`)
		objects := c.Kubectl("get", "gateways,httproutes,ciliumenvoyconfigs", "--all-namespaces", "-o", "name")
		if pods+objects != "" {
			return fmt.Errorf("%s %s", pods, objects)
		}
		return nil
	})
	t.Log(newer.run("uninstall"))
	left := look(c)
	if more := left.beyond(empty); more != "" {
		t.Errorf("uninstall has left\n%s", more)
	}
	if lost := empty.beyond(left); lost != "" {
		t.Errorf("there was before, and is gone\n%s", lost)
	}
}

// pool gives out the sandbox's LoadBalancer addresses.
func pool(c *e2e.Test) {
	c.Helper()
	var blocks []string
	for _, cidr := range strings.Split(os.Getenv("SANDBOX_LB_CIDRS"), ",") {
		blocks = append(blocks, fmt.Sprintf("{cidr: %q}", cidr))
	}
	c.Put("apiVersion: cilium.io/v2\nkind: CiliumLoadBalancerIPPool\nmetadata: {name: sandbox}\nspec: {allowFirstLastIPs: \"No\", blocks: [" + strings.Join(blocks, ", ") + "]}\n")
}

// ours reads a field of all of Waggle's pods.
func ours(s *site.Site, field string) (all []string) {
	s.Helper()
	for _, label := range []string{"k8s-app=cilium", "k8s-app=cilium-envoy", "io.cilium/app=operator"} {
		list := strings.Fields(s.Kubectl("-n", system, "get", "pods", "-l", label, "-o", "jsonpath={.items[*]."+field+"}"))
		if len(list) == 0 {
			s.Errorf("there are no pods %s", label)
		}
		all = append(all, list...)
	}
	return all
}

// images expects all of Waggle's pods to run an image.
func images(s *site.Site, digest string) {
	s.Helper()
	for _, image := range ours(s, "spec.containers[*].image") {
		if !strings.HasSuffix(image, digest) {
			s.Errorf("a pod runs %s, want %s", image, digest)
		}
	}
}

// byOtherValues upgrades with values as users of Cilium have them, by which
// CiliumEnvoyConfigs are on by their setting's name alone, and restarts agents and
// operators: no request fails, and what is edited then is taken and said to be.
func byOtherValues(s *site.Site, b build) {
	traffic := s.Begin(true)
	b.run("upgrade", "--set", "kubeProxyReplacement=true,l7Proxy=true,gatewayAPI.enabled=true,ingressController.enabled=false,envoyConfig.enabled=false,"+
		"extraConfig.enable-envoy-config=true,envoy.enabled=true,hubble.relay.enabled=true,hubble.ui.enabled=true")
	b.run("status", "--wait")
	for _, workload := range []string{"daemonset/cilium", "deployment/cilium-operator"} {
		s.Kubectl("-n", system, "rollout", "restart", workload)
		s.Kubectl("-n", system, "rollout", "status", workload, "--timeout=120s")
	}
	traffic.Unharmed()
	s.Kubectl("patch", "cec/web", "--type=json", "-p", `[{"op": "replace", "path": "/spec/resources/0/filter_chains/0/filters/0/typed_config/stat_prefix", "value": "edited"}]`)
	s.Wait("cec/web", "Programmed")
	s.Answers()
}

// toldOtherwise changes a setting, which agents and operators take over, and no
// request fails.
func toldOtherwise(s *site.Site, b build) {
	traffic := s.Begin(true)
	before := s.Kubectl("-n", system, "get", "pods", "-l", "k8s-app=cilium", "-o", "name")
	b.run("config", "set", "log-level=debug")
	s.Kubectl("-n", system, "rollout", "status", "daemonset/cilium", "--timeout=120s")
	b.run("status", "--wait")
	traffic.Unharmed()
	after := s.Kubectl("-n", system, "get", "pods", "-l", "k8s-app=cilium", "-o", "name")
	for pod := range strings.Lines(after) {
		if strings.Contains(before, pod) {
			s.Errorf("%s has not begun again", strings.TrimSpace(pod))
		}
	}
	if view := b.run("config", "view"); !strings.Contains(strings.Join(strings.Fields(view), " "), "log-level debug") {
		s.Errorf("config view does not show it:\n%s", view)
	}
	if logs := s.Kubectl("-n", system, "logs", "-l", "k8s-app=cilium", "-c", "cilium-agent", "--tail=-1"); !strings.Contains(logs, "level=DEBUG") {
		s.Errorf("agents do not say more than before:\n%.2000s", logs)
	}
}

// lookedAt collects everything, and no key is in it.
func lookedAt(s *site.Site, b build) {
	archive := filepath.Join(s.TempDir(), "dump.zip")
	b.run("sysdump", "-o", archive)
	z, err := zip.OpenReader(archive)
	if err != nil {
		s.Fatal(err)
	}
	defer z.Close()
	var names []string
	key := s.Get("secret/site", `{.data.tls\.key}`)
	for _, f := range z.File {
		names = append(names, f.Name)
		r, err := f.Open()
		if err != nil {
			s.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			s.Fatal(err)
		}
		if strings.Contains(string(text), key[:60]) || strings.Contains(string(text), "PRIVATE KEY") {
			s.Errorf("%s has a key", f.Name)
		}
		if f.Name == "missing.txt" && len(text) > 0 {
			s.Errorf("missing: %s", text)
		}
		if f.Name == "objects/gateways.yaml" && !strings.Contains(string(text), s.Namespace) {
			s.Errorf("the Gateway is not in it")
		}
	}
	for _, pod := range ours(s, "metadata.name") {
		if !slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, "logs/"+pod) }) {
			s.Errorf("no log of %s in %v", pod, names)
		}
	}
}
