package operator

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/gateway"
)

// TestObjectNames: whatever a Gateway is called, what is made for it has names
// and labels that the API server takes, and no two Gateways' have one name.
func TestObjectNames(t *testing.T) {
	var tables flow.Graph
	in := NewClusterInputs(&tables)
	c := NewCluster(&tables, in, ClusterSettings{Settings: Settings{Stage: gateway.Stage{Controller: "us", Infrastructure: true}}})
	in.Classes.Set(testClass("c", "us"))
	long := strings.Repeat("a-name.", 36) + "a"
	names := []string{"web", "a.b", "a-b", long, long[:252], strings.Repeat("x", 253), strings.Repeat("x", 49), strings.Repeat("x", 48)}
	for _, name := range names {
		in.Gateways.Set(testGateway(name, "c"))
	}
	if err := tables.Commit(); err != nil {
		t.Fatal(err)
	}
	services := map[string]bool{}
	for _, s := range c.Services.All() {
		services[s.Name.Name] = true
		if problems := validation.IsDNS1035Label(s.Name.Name); len(problems) > 0 {
			t.Errorf("Service %s: %q", s.Name, problems)
		}
		labelled(t, s.Labels)
	}
	if len(services) != len(names) || !services["cilium-gateway-web"] || !services["cilium-gateway-"+names[7]] {
		t.Errorf("%d Gateways have Services %v", len(names), services)
	}
	configs := c.Configs.All()
	for _, config := range configs {
		if problems := validation.IsDNS1123Subdomain(config.Name.Name); len(problems) > 0 {
			t.Errorf("CiliumEnvoyConfig %s: %q", config.Name, problems)
		}
		labelled(t, config.Labels)
		if part := config.Labels[ciliumv2.LabelPartOf]; part != "" && !services[part] {
			t.Errorf("%s is part of %s, which there is not", config.Name, part)
		}
	}
	if len(configs) < len(names) {
		t.Errorf("%d CiliumEnvoyConfigs for %d Gateways", len(configs), len(names))
	}
}

func labelled(t *testing.T, labels map[string]string) {
	t.Helper()
	for name, value := range labels {
		if problems := validation.IsValidLabelValue(value); len(problems) > 0 {
			t.Errorf("label %s: %q: %q", name, value, problems)
		}
	}
}
