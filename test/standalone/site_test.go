package standalone_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/waggle-mesh/waggle/internal/standalone"
)

// site is what one test has on a mesh: a namespace, a folder of manifests
// for it, an address.
type site struct {
	*mesh
	t         *testing.T
	namespace string
	address   netip.Addr
	folder    string
	client    *http.Client
}

var sites atomic.Uint32

func newSite(t *testing.T, shared *mesh) *site {
	t.Helper()
	m := &site{mesh: shared, t: t, namespace: fmt.Sprintf("site-%d", sites.Add(1)), address: nextAddress()}
	m.folder = filepath.Join(shared.dir, m.namespace)
	if err := os.Mkdir(m.folder, 0o700); err != nil {
		t.Fatal(err)
	}
	m.client = m.newClient(nil)
	t.Cleanup(func() {
		if err := os.RemoveAll(m.folder); err != nil {
			t.Error(err)
		}
	})
	return m
}

// Manifests

// webGateway is the Gateway of tests that are not about Gateways.
const webGateway = `listeners: [{name: http, protocol: HTTP, port: 80}]`

// gateway puts Gateway gw there, at the site's address.
func (m *site) gateway(spec string) {
	m.t.Helper()
	m.apply("gateway", `
		apiVersion: gateway.networking.k8s.io/v1
		kind: Gateway
		metadata: {name: gw, namespace: NAMESPACE}
		spec:
		  gatewayClassName: cilium
		  addresses: [{value: ADDRESS}]
		`+indent(spec))
}

// route puts an HTTPRoute there. Where the spec has no parentRefs it is
// attached to Gateway gw, and where there is none it gets webGateway.
func (m *site) route(name, spec string) {
	m.t.Helper()
	if !strings.Contains(spec, "parentRefs:") {
		if _, err := os.Stat(m.file("gateway")); err != nil {
			m.gateway(webGateway)
		}
		spec = "parentRefs: [{name: gw}]\n" + dedent(spec)
	}
	m.apply("route-"+name, `
		apiVersion: gateway.networking.k8s.io/v1
		kind: HTTPRoute
		metadata: {name: `+name+`, namespace: NAMESPACE}
		spec:
		`+indent(spec))
}

// apply writes a manifest as an editor does: beside the old one, and then
// renamed into its place. NAMESPACE and ADDRESS stand for the site's.
func (m *site) apply(file, text string) {
	m.t.Helper()
	part := filepath.Join(m.folder, "."+file+".part")
	m.write(part, dedent(text))
	if err := os.Rename(part, m.file(file)); err != nil {
		m.t.Fatal(err)
	}
}

// write writes a file in place.
func (m *site) write(path, text string) {
	m.t.Helper()
	text = strings.NewReplacer("NAMESPACE", m.namespace, "ADDRESS", m.address.String()).Replace(text)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// remove takes a manifest away.
func (m *site) remove(file string) {
	m.t.Helper()
	if err := os.Remove(m.file(file)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *site) file(name string) string { return filepath.Join(m.folder, name+".yaml") }

var margin = regexp.MustCompile(`(?m)^\t+`)

// dedent takes away the tabs that a text has by standing in Go code.
func dedent(text string) string { return margin.ReplaceAllString(text, "") }

// indent moves a text into a YAML mapping.
func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(dedent(text)), "\n", "\n  ") + "\n"
}

// Waiting

// await polls the status until check has nothing to say against it.
func (m *site) await(check func(*standalone.Status) error) {
	m.t.Helper()
	if err := m.mesh.await(check); err != nil {
		m.t.Fatal(m.explain(err))
	}
}

// awaitCondition waits for a condition that is not as it should be, such as
// "HTTPRoute web: Accepted=False NoMatchingParent", and gives its message.
func (m *site) awaitCondition(want string) (message string) {
	m.t.Helper()
	m.await(func(s *standalone.Status) error {
		for _, c := range s.Conditions {
			if c.Namespace == m.namespace && m.conditionText(c) == want {
				message = c.Message
				return nil
			}
		}
		return fmt.Errorf("no condition %q", want)
	})
	return message
}

// awaitNoConditions waits until everything of the site is as it should be.
func (m *site) awaitNoConditions() {
	m.t.Helper()
	m.await(func(s *standalone.Status) error {
		if text := m.conditions(s); text != "" {
			return fmt.Errorf("there are conditions:\n%s", text)
		}
		return nil
	})
}

func (m *site) conditionText(c standalone.Condition) string {
	object := c.Kind + " " + c.Name
	if c.Section != "" {
		object += ", " + c.Section
	}
	return fmt.Sprintf("%s: %s=%s %s", object, c.Type, c.Status, c.Reason)
}

// conditions are those of the site that are not as they should be.
func (m *site) conditions(s *standalone.Status) string {
	var b strings.Builder
	for _, c := range s.Conditions {
		if c.Namespace == m.namespace {
			fmt.Fprintf(&b, "  %s: %s\n", m.conditionText(c), c.Message)
		}
	}
	for _, p := range s.Problems {
		if strings.HasPrefix(p.File, m.folder) {
			fmt.Fprintf(&b, "  %s:%d: %s %s %s\n", filepath.Base(p.File), p.Line, p.Object, p.Field, p.Message)
		}
	}
	for _, r := range s.Rejected {
		fmt.Fprintf(&b, "  Envoy rejected %s: %s\n", r.Name, r.Message)
	}
	return b.String()
}

// explain adds to an error what the mesh has to say.
func (m *site) explain(err error) error {
	s, failed := standalone.AskStatus(context.Background(), m.stateDir)
	if failed != nil {
		return fmt.Errorf("%w\n%w", err, failed)
	}
	return fmt.Errorf("%w\nEnvoy is %s; not as it should be:\n%s", err, s.Envoy.State, m.conditions(s))
}

// where gives the address behind a host and port of a request: the site's,
// and the listener's port with the offset added.
func (m *site) where(hostport string) string {
	_, port, err := net.SplitHostPort(hostport)
	if err != nil {
		port = "80"
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		m.t.Fatalf("port of %s: %v", hostport, err)
	}
	return net.JoinHostPort(m.address.String(), strconv.Itoa(n+m.options.PortOffset))
}

// replace replaces words in a text.
func replace(text string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(text) }
