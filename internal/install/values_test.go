package install

import (
	"fmt"
	"maps"
	"testing"

	"helm.sh/helm/v4/pkg/action"
	releasecommon "helm.sh/helm/v4/pkg/release/common"
	releasev1 "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage"
	"helm.sh/helm/v4/pkg/storage/driver"
)

// TestFound: what is found holds where neither the command nor the release that is
// there has said anything of it.
func TestFound(t *testing.T) {
	found := []Found{
		{"k8sServiceHost", map[string]any{"k8sServiceHost": "10.0.0.1", "k8sServicePort": "6443"}},
		{"operator.replicas", map[string]any{"operator": map[string]any{"replicas": 1}}},
	}
	for _, test := range []struct {
		set    []string
		before map[string]any // nil: there is no release
		want   string
		says   bool // of k8sServiceHost
	}{
		{nil, nil, "map[k8sServiceHost:10.0.0.1 k8sServicePort:6443 operator:map[replicas:1]]", true},
		{[]string{"k8sServiceHost=vip"}, nil, "map[k8sServiceHost:vip operator:map[replicas:1]]", true},
		{[]string{"k8sServicePort=1,operator.rollOutPods=true"}, nil, "map[k8sServiceHost:10.0.0.1 k8sServicePort:1 operator:map[replicas:1 rollOutPods:true]]", true},
		{[]string{"operator.replicas=3"}, nil, "map[k8sServiceHost:10.0.0.1 k8sServicePort:6443 operator:map[replicas:3]]", true},
		// Helm adds the release's values to these.
		{[]string{"l7Proxy=false"}, map[string]any{"k8sServiceHost": "vip", "operator": map[string]any{"rollOutPods": true}}, "map[l7Proxy:false operator:map[replicas:1]]", true},
		{nil, map[string]any{"k8sServiceHost": "", "operator": map[string]any{"replicas": 2}}, "map[]", false},
	} {
		r := &Release{
			o:      Options{Release: "waggle", Values: Values{Set: test.set, Found: found}},
			config: &action.Configuration{Releases: storage.Init(driver.NewMemory())},
		}
		if test.before != nil {
			made := &releasev1.Release{Name: "waggle", Version: 1, Config: maps.Clone(test.before), Info: &releasev1.Info{Status: releasecommon.StatusDeployed}}
			if err := r.config.Releases.Create(made); err != nil {
				t.Fatal(err)
			}
		}
		last, next, err := r.read()
		if got := fmt.Sprint(next); err != nil || got != test.want {
			t.Errorf("set %q, before %v: %s, want %s: %v", test.set, test.before, got, test.want, err)
		}
		if says, err := r.Says("k8sServiceHost"); says != test.says || err != nil {
			t.Errorf("set %q, before %v: it says who the API server is: %v, %v", test.set, test.before, says, err)
		}
		if (last != nil) != (test.before != nil) {
			t.Errorf("before %v: the release is %v", test.before, last)
		}
	}
}
