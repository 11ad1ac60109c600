package install

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
)

// TestDeleteNamespaces: of a release's namespaces for copies of Secrets those go
// that are empty; users' Secrets stay with theirs, and namespaces of others do.
func TestDeleteNamespaces(t *testing.T) {
	api := kubetest.New(t)
	put := func(name, release, policy string) {
		api.Put("/api/v1/namespaces/"+name, kubetest.Object{"apiVersion": "v1", "kind": "Namespace", "metadata": kubetest.Object{
			"labels": kubetest.Object{"app.kubernetes.io/part-of": "cilium"},
			"annotations": kubetest.Object{"helm.sh/resource-policy": policy,
				"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": "kube-system"},
		}})
	}
	put("empty", "waggle", "keep")
	put("used", "waggle", "keep")
	put("others", "cilium", "keep")
	put("made", "waggle", "")
	api.Put("/api/v1/namespaces/used/secrets/mine", kubetest.Object{"apiVersion": "v1", "kind": "Secret"})
	client, err := kube.Connect(kube.Options{Kubeconfig: api.Kubeconfig()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	err = DeleteNamespaces(t.Context(), client, "waggle", "kube-system", func(name string, secrets int) {
		told = append(told, fmt.Sprintf("%d in %s", secrets, name))
	})
	if err != nil || !slices.Equal(told, []string{"1 in used"}) {
		t.Errorf("told %q: %v", told, err)
	}
	const at = "/api/v1/namespaces/"
	if left, want := api.Paths(at), []string{at + "made", at + "others", at + "used", at + "used/secrets/mine"}; !slices.Equal(left, want) {
		t.Errorf("left are %q, want %q", left, want)
	}
}
