package install

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/waggle-mesh/waggle/chart"
)

// TestCleaner: what cleans a node has the agents' directories of it, and neither
// their settings nor their right to ask the API server.
func TestCleaner(t *testing.T) {
	c, err := Load(chart.Waggle, "waggle")
	if err != nil {
		t.Fatal(err)
	}
	files, err := Render(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	var agents appsv1.DaemonSet
	if err := yaml.Unmarshal([]byte(files["waggle/templates/agent/daemonset.yaml"]), &agents); err != nil {
		t.Fatal(err)
	}
	pod := cleanerOf(&agents).Spec.Template.Spec
	var volumes []string
	for _, v := range pod.Volumes {
		volumes = append(volumes, v.Name)
		if v.HostPath == nil {
			t.Errorf("volume %s is no directory of the node", v.Name)
		}
	}
	for _, container := range slices.Concat(pod.InitContainers, pod.Containers) {
		for _, m := range container.VolumeMounts {
			if !slices.Contains(volumes, m.Name) {
				t.Errorf("container %s has volume %s, which is not there", container.Name, m.Name)
			}
		}
		if !slices.ContainsFunc(container.VolumeMounts, func(m corev1.VolumeMount) bool { return m == corev1.VolumeMount{Name: "run", MountPath: "/host/run"} }) {
			t.Errorf("container %s does not see what holds the agents' directory: %v", container.Name, container.VolumeMounts)
		}
	}
}
