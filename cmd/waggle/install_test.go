//go:build !noinstall

package main

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
)

// TestSuit: of a cluster with one API server its address is found, and one operator
// for one node; nothing where there are more.
func TestSuit(t *testing.T) {
	api := kubetest.New(t)
	client, err := kube.Connect(kube.Options{Kubeconfig: api.Kubeconfig()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		"[{k8sServiceHost map[k8sServiceHost:10.0.0.0 k8sServicePort:6443]} {operator.replicas map[operator:map[replicas:1]]}]",
		"[]",
	} {
		api.Put(fmt.Sprintf("/api/v1/nodes/n%d", i), kubetest.Object{"kind": "Node", "apiVersion": "v1"})
		api.Put(fmt.Sprintf("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/s%d", i), kubetest.Object{
			"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "metadata": kubetest.Object{"labels": kubetest.Object{"kubernetes.io/service-name": "kubernetes"}},
			"endpoints": []any{kubetest.Object{"addresses": []any{fmt.Sprintf("10.0.0.%d", i)}}}, "ports": []any{kubetest.Object{"port": 6443}},
		})
		if found, err := suit(t.Context(), client); err != nil || fmt.Sprint(found) != want {
			t.Errorf("with %d: %v, want %s: %v", i+1, found, want, err)
		}
	}
}

// TestNotOthers: while agents run that are of another release, nothing that they
// have made is removed for one that is not there.
func TestNotOthers(t *testing.T) {
	agents := func(by string, gone bool) *appsv1.DaemonSet {
		o := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "cilium"}}
		if by != "" {
			o.Annotations = map[string]string{"meta.helm.sh/release-name": by}
		}
		if gone {
			o.DeletionTimestamp = &metav1.Time{}
		}
		return o
	}
	for _, test := range []struct {
		agents *appsv1.DaemonSet
		want   string // empty: it goes on
	}{
		{nil, ""},
		{agents("mesh", true), ""},
		{agents("mesh", false), "there is no release waggle, but DaemonSet kube-system/cilium of release mesh: use --release mesh"},
		{agents("", false), "of no release"},
	} {
		err := notOthers(test.agents, "waggle")
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", test.agents, err, test.want)
		}
	}
}
