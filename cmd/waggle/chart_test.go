package main

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/waggle-mesh/waggle/chart"
	"github.com/waggle-mesh/waggle/internal/install"
)

// TestChartSettings: each setting that the chart writes is a flag of a command
// that takes the value, or is in the list of those that nobody reads.
func TestChartSettings(t *testing.T) {
	c, err := install.Load(chart.Waggle, "waggle")
	if err != nil {
		t.Fatal(err)
	}
	given := map[string]any{
		"k8sServiceHost": "10.0.0.1", "devices": "eth0", "gatewayAPI": map[string]any{
			"enabled": true, "enableProxyProtocol": true,
			"hostNetwork": map[string]any{"enabled": true, "nodes": map[string]any{"matchLabels": map[string]any{"edge": "yes", "a/b": "c"}}},
		}, "l2announcements": map[string]any{"enabled": true},
	}
	files, err := install.Render(c, given)
	if err != nil {
		t.Fatal(err)
	}
	var config corev1.ConfigMap
	if err := yaml.Unmarshal([]byte(files["waggle/templates/cilium-config.yaml"]), &config); err != nil {
		t.Fatal(err)
	}
	if len(config.Data) < 20 {
		t.Fatalf("settings %v", config.Data)
	}
	for name, value := range config.Data {
		if _, ok := unread[name]; !ok {
			if err := checkSetting(name, value); err != nil {
				t.Errorf("the chart writes %s, which has no effect: %v", name, err)
			}
		}
	}
	for name := range unread {
		if isSetting(name) {
			t.Errorf("%s is a flag and in the list of what nobody reads", name)
		}
	}
}
