package survey

import (
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waggle-mesh/waggle/internal/kube"
)

// missingKinds are the kinds that the API server does not have, of those that
// agents and operators with these settings read. What they are for is off until
// their definitions are there.
func missingKinds(r *reader, settings map[string]string) []string {
	names := []string{}
	for _, needed := range []struct {
		by    string // a setting; empty: always
		kinds []kindProbe
	}{
		{"", []kindProbe{probe(kube.Endpoints), probe(kube.Identities)}},
		{"enable-l7-proxy", []kindProbe{probe(kube.EnvoyConfigs), probe(kube.ClusterwideEnvoyConfigs), probe(kube.EnvoyNodes)}},
		{"enable-gateway-api", []kindProbe{
			probe(kube.GatewayClasses), probe(kube.Gateways), probe(kube.HTTPRoutes), probe(kube.ReferenceGrants), probe(kube.ClassConfigs),
		}},
		{"enable-lb-ipam", []kindProbe{probe(kube.Pools)}},
		{"enable-l2-announcements", []kindProbe{probe(kube.AnnouncementPolicies)}},
	} {
		if needed.by != "" && settings[needed.by] != "true" {
			continue
		}
		for _, k := range needed.kinds {
			if k.isMissing(r) {
				names = append(names, k.name)
			}
		}
	}
	return names
}

// kindProbe tells whether the API server has a kind.
type kindProbe struct {
	name      string
	isMissing func(*reader) bool
}

func probe[T kube.Object](k kube.Kind[T]) kindProbe {
	return kindProbe{k.Name(), func(r *reader) bool {
		_, err := kube.List(r.ctx, r.client, k, "", metav1.ListOptions{Limit: 1})
		if err != nil && !errors.Is(err, kube.ErrNotFound) {
			r.failed(fmt.Errorf("see whether there is kind %s: %w", k.Name(), err))
		}
		return errors.Is(err, kube.ErrNotFound)
	}}
}

// kinds finds what is off for want of a definition, where Waggle is installed.
func (s *Status) kinds(r *reader) {
	settings, err := ReadConfig(r.ctx, r.client, s.Namespace)
	switch {
	case err == nil:
		s.MissingKinds = missingKinds(r, settings)
	case !errors.Is(err, kube.ErrNotFound):
		r.failed(err)
	}
}
