package survey

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
)

func connect(t *testing.T, api *kubetest.Server) *kube.Client {
	t.Helper()
	c, err := kube.Connect(kube.Options{Kubeconfig: api.Kubeconfig()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRestartOutdated: who has read settings that are others now begins again,
// unless his pods are replaced anyhow.
func TestRestartOutdated(t *testing.T) {
	const namespaced = "/namespaces/kube-system/"
	const config, agents, operators = "/api/v1" + namespaced + "configmaps/cilium-config",
		"/apis/apps/v1" + namespaced + "daemonsets/cilium", "/apis/apps/v1" + namespaced + "deployments/cilium-operator"
	for _, test := range []struct {
		name   string
		change func(put func(path, value string))
		want   []string
	}{
		{"nothing", func(func(path, value string)) {}, nil},
		{"a setting", func(put func(path, value string)) { put(config, "2") }, []string{"cilium", "cilium-operator"}},
		{"a setting and the agents' image", func(put func(path, value string)) { put(config, "2"); put(agents, "2") }, []string{"cilium-operator"}},
		{"an image", func(put func(path, value string)) { put(agents, "2") }, nil},
	} {
		api := kubetest.New(t)
		put := func(path, value string) {
			if path == config {
				api.Put(path, kubetest.Object{"kind": "ConfigMap", "apiVersion": "v1", "data": kubetest.Object{"debug": value}})
				return
			}
			containers := []any{kubetest.Object{"name": "x", "image": value}}
			api.Put(path, kubetest.Object{"spec": kubetest.Object{"template": kubetest.Object{"spec": kubetest.Object{"containers": containers}}}})
		}
		client := connect(t, api)
		if empty, err := ReadingOf(t.Context(), client, "kube-system"); err != nil || empty.config != nil {
			t.Errorf("where nothing is: %+v, %v", empty, err)
		}
		for _, path := range []string{config, agents, operators} {
			put(path, "1")
		}
		before, err := ReadingOf(t.Context(), client, "kube-system")
		if err != nil {
			t.Fatal(err)
		}
		test.change(put)
		got, err := RestartOutdated(t.Context(), client, "kube-system", before)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s: restarts %q, want %q: %v", test.name, got, test.want, err)
		}
		var marked []string
		for name, path := range map[string]string{"cilium": agents, "cilium-operator": operators} {
			meta, _ := api.Get(path)["spec"].(kubetest.Object)["template"].(kubetest.Object)["metadata"].(kubetest.Object)
			if meta["annotations"] != nil {
				marked = append(marked, name)
			}
		}
		if slices.Sort(marked); !slices.Equal(marked, test.want) {
			t.Errorf("%s: has restarted %q, want %q", test.name, marked, test.want)
		}
	}
}

// TestAPIServers: all of them are found, of either family.
func TestAPIServers(t *testing.T) {
	api := kubetest.New(t)
	client := connect(t, api)
	for i, addresses := range [][]any{{"10.0.0.1", "10.0.0.2"}, {"fd00::1"}} {
		var endpoints []any
		for _, a := range addresses {
			endpoints = append(endpoints, kubetest.Object{"addresses": []any{a}})
		}
		api.Put(fmt.Sprintf("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes-%d", i), kubetest.Object{
			"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "metadata": kubetest.Object{"labels": kubetest.Object{"kubernetes.io/service-name": "kubernetes"}},
			"endpoints": endpoints, "ports": []any{kubetest.Object{"port": 6443}},
		})
	}
	got, err := APIServers(t.Context(), client)
	if want := "[10.0.0.1:6443 10.0.0.2:6443 [fd00::1]:6443]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("found %v, want %s: %v", got, want, err)
	}
}

// TestSingleNode: two nodes are not one.
func TestSingleNode(t *testing.T) {
	api := kubetest.New(t)
	client := connect(t, api)
	for _, want := range []bool{false, true, false} {
		if got, err := IsSingleNode(t.Context(), client); got != want || err != nil {
			t.Errorf("with %q: %v, %v", api.Paths("/api/v1/nodes/"), got, err)
		}
		api.Put(fmt.Sprintf("/api/v1/nodes/n%d", len(api.Paths("/api/v1/nodes/"))), kubetest.Object{"kind": "Node", "apiVersion": "v1"})
	}
}
