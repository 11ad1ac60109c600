package kept

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/envoyconfig"
)

// TestFiles: what was kept is read back as it was, but for what is gone and
// what cannot be read.
func TestFiles(t *testing.T) {
	o, ctx, log := Files{filepath.Join(t.TempDir(), "configs")}, context.Background(), slog.New(slog.DiscardHandler)
	if got := o.Read(log); len(got) != 0 {
		t.Errorf("before the first: %v", got)
	}
	spec := ciliumv2.CiliumEnvoyConfigSpec{Resources: []ciliumv2.EnvoyResource{{JSON: []byte(`{"@type":"x","a":1}`)}}, Services: []ciliumv2.ServiceListener{{Name: "web"}}}
	meta := metav1.ObjectMeta{Name: "c", UID: "u", Generation: 3, ResourceVersion: "7", Labels: map[string]string{"a": "b"}}
	clusterwide := agent.KeptConfig{Object: envoyconfig.OfClusterwide(&ciliumv2.CiliumClusterwideEnvoyConfig{ObjectMeta: meta, Spec: spec}), Version: "7"}
	meta.Namespace = "ns"
	namespaced := agent.KeptConfig{Object: envoyconfig.Of(&ciliumv2.CiliumEnvoyConfig{ObjectMeta: meta, Spec: spec}), Version: "7"}
	for _, k := range []agent.KeptConfig{clusterwide, namespaced} {
		if _, err := o.Update(ctx, k); err != nil {
			t.Fatal(err)
		}
	}
	if got := o.Read(log); len(got) != 2 || !reflect.DeepEqual(got[clusterwide.Key()], clusterwide) || !reflect.DeepEqual(got[namespaced.Key()], namespaced) {
		t.Errorf("read %+v", got)
	}
	if info, err := os.Stat(o.fileOf(namespaced.Key())); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.WriteFile(o.fileOf("half"), []byte(`{"kind":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := o.Delete(ctx, clusterwide.Key()); err != nil || len(o.Read(log)) != 1 || o.Delete(ctx, clusterwide.Key()) != nil {
		t.Errorf("after one is gone: %v, %v", o.Read(log), err)
	}
	if err := o.Prune(ctx, []string{namespaced.Key()}); err != nil || len(o.files()) != 1 {
		t.Errorf("pruned to %q, %v", o.files(), err)
	}
}
