package envoyconfig

import (
	"fmt"
	"strings"
	"testing"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/test/hostile/objects"
)

// TestMostListeners: an object takes no more of a node's ports than its share,
// however many listeners it has that take none.
func TestMostListeners(t *testing.T) {
	w := read(t, strings.TrimSpace(hostileWorld)).world()
	object := func(led int) Object {
		o := objectOf(t, objects.Case{})
		spec := &ciliumv2.CiliumEnvoyConfigSpec{}
		for i := range mostLed + 1 {
			spec.Resources = append(spec.Resources, balancedResource(balancedListener(fmt.Sprint(i))))
			if i < led {
				spec.Services = append(spec.Services, ciliumv2.ServiceListener{Name: "web", Ports: []uint16{80}, Listener: fmt.Sprint(i)})
			}
		}
		// Their routes lead to clusters of the same names.
		for i := range mostLed + 1 {
			spec.Resources = append(spec.Resources, ciliumv2.EnvoyResource{JSON: fmt.Appendf(nil,
				`{"@type":"type.googleapis.com/envoy.config.cluster.v3.Cluster","name":"%d","type":"EDS","eds_cluster_config":{"service_name":"tenant/web:80"}}`, i)})
		}
		o.Spec = spec
		return o
	}
	if p := Parse(object(mostLed), w); len(p.Problems) > 0 {
		t.Errorf("%d listeners: %v", mostLed, p.Problems)
	}
	p := Parse(object(mostLed+1), w)
	if len(p.Problems) != 1 || !strings.HasPrefix(p.Problems[0].String(), "services: are led to 65 listeners, at most 64") || len(p.Claims) > 0 {
		t.Errorf("%d listeners: %v", mostLed+1, p.Problems)
	}
}
