package announcement

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/waggle-mesh/waggle/api/cilium.io/v2alpha1"
	"github.com/waggle-mesh/waggle/internal/golden"
	"github.com/waggle-mesh/waggle/internal/model"
)

// TestGolden asks the policies of each testdata/*.txtar about its nodes, at the
// device eth0, and about its Services.
func TestGolden(t *testing.T) {
	golden.Run(t, "testdata/*.txtar", func(t *testing.T, c *golden.Case) {
		var policies []Policy
		var nodes []*corev1.Node
		var services []*corev1.Service
		for document := range strings.SplitSeq(c.Section("in.yaml"), "\n---\n") {
			switch {
			case strings.Contains(document, "kind: Node\n"):
				nodes = append(nodes, read(t, document, new(corev1.Node)))
			case strings.Contains(document, "kind: Service\n"):
				services = append(services, read(t, document, new(corev1.Service)))
			default:
				policies = append(policies, PolicyOf(read(t, document, new(v2alpha1.CiliumL2AnnouncementPolicy))))
			}
		}
		var out strings.Builder
		for _, p := range policies {
			for _, condition := range p.Conditions {
				fmt.Fprintf(&out, "%s: %s=%s %s: %s\n", p.Name, condition.Type, condition.Status, condition.Reason, condition.Message)
			}
			for _, n := range nodes {
				if p.Node(n.Labels, "eth0") {
					fmt.Fprintf(&out, "%s: by node %s\n", p.Name, n.Name)
				}
			}
			for _, s := range services {
				if all := p.Addresses(s); len(all) > 0 {
					fmt.Fprintf(&out, "%s: %s of %s/%s\n", p.Name, all, s.Namespace, s.Name)
				}
			}
		}
		c.Expect("announced", out.String())
	})
}

func read[T any](t *testing.T, document string, into T) T {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(document), into); err != nil {
		t.Fatalf("%v in\n%s", err, document)
	}
	return into
}

// TestLease: the name is Cilium's, so that both agree in a cluster that moves
// from one to the other.
func TestLease(t *testing.T) {
	if got := Lease(model.Name{Namespace: "shop", Name: "cilium-gateway-web"}); got != "cilium-l2announce-shop-cilium-gateway-web" {
		t.Error(got)
	}
}
