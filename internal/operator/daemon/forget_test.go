package daemon

import (
	"log/slog"
	"slices"
	"testing"

	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/operator"
)

// TestForgetSecrets: copies of Secrets go, in whatever namespace they are, and
// nobody else's Secret: not users', nor Cilium's copies, which have the same
// names and labels.
func TestForgetSecrets(t *testing.T) {
	api := kubetest.New(t)
	put := func(namespace, name string, labels, annotations kubetest.Object) string {
		path := "/api/v1/namespaces/" + namespace + "/secrets/" + name
		api.Put(path, kubetest.Object{"apiVersion": "v1", "kind": "Secret", "metadata": kubetest.Object{"labels": labels, "annotations": annotations}})
		return path
	}
	web, other := model.Name{Namespace: "shop", Name: "web"}, model.Name{Namespace: "shop", Name: "other"}
	name := func(of model.Name) string { return operator.SecretCopyName("", of).Name }
	labels := kubetest.Object{operator.SecretNamespaceLabel: "shop"}
	ours := kubetest.Object{copyAnnotation: web.String()}
	put("cilium-secrets", name(web), labels, ours)
	put("kube-system", name(web), labels, ours)
	left := []string{
		put("cilium-secrets", name(other), labels, nil),
		put("cilium-secrets", "restored", labels, ours),
		put("cilium-secrets", "users", nil, nil),
		put("shop", "web", nil, nil),
	}
	client, err := kube.Connect(kube.Options{Kubeconfig: api.Kubeconfig()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := Forget(t.Context(), client, "kube-system"); err != nil {
		t.Error(err)
	}
	if got := api.Paths("/api/v1/"); !slices.Equal(got, left) {
		t.Errorf("left are\n%q\nwant\n%q", got, left)
	}
}
