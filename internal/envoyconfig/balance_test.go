package envoyconfig

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waggle-mesh/waggle/internal/model"
)

// TestBalance: which ports of Services are distributed, how, and that what is
// made of them is as valid as what a user writes.
func TestBalance(t *testing.T) {
	on := Balance{Enabled: true}
	service := func(annotations map[string]string, ports ...corev1.ServicePort) *corev1.Service {
		return &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Annotations: annotations},
			Spec:       corev1.ServiceSpec{ClusterIP: "10.96.0.7", Ports: ports},
		}
	}
	http, admin, dns := corev1.ServicePort{Name: "http", Port: 80}, corev1.ServicePort{Name: "admin", Port: 9090}, corev1.ServicePort{Port: 53, Protocol: "UDP"}
	enabled := map[string]string{AnnotationBalance: "enabled"}
	headless := service(enabled, http)
	headless.Spec.ClusterIP = corev1.ClusterIPNone
	for name, c := range map[string]struct {
		by   Balance
		of   *corev1.Service
		want string
	}{
		"not asked for":      {on, service(nil, http), ""},
		"switched off":       {Balance{}, service(enabled, http), ""},
		"annotated":          {on, service(enabled, http, admin, dns), "80 ROUND_ROBIN, 9090 ROUND_ROBIN"},
		"an algorithm":       {on, service(map[string]string{AnnotationBalance: "enabled", AnnotationAlgorithm: "least_request"}, http), "80 LEAST_REQUEST"},
		"the cluster's":      {Balance{Enabled: true, Algorithm: "random"}, service(enabled, http), "80 RANDOM"},
		"an unknown one":     {on, service(map[string]string{AnnotationBalance: "enabled", AnnotationAlgorithm: "best"}, http), "80 ROUND_ROBIN"},
		"by its port":        {Balance{Enabled: true, Ports: []uint16{9090}}, service(nil, http, admin), "9090 ROUND_ROBIN"},
		"in spite of a port": {Balance{Enabled: true, Ports: []uint16{80}}, service(map[string]string{AnnotationBalance: "disabled"}, http), ""},
		"headless":           {on, headless, ""},
	} {
		o, ok := c.by.Object(c.of)
		if !ok {
			if c.want != "" {
				t.Errorf("%s: no object", name)
			}
			continue
		}
		w := World{Service: func(model.Name) *corev1.Service { return c.of }}
		p := Parse(o, w)
		if len(p.Problems)+len(p.Unresolved)+len(p.Warnings) > 0 {
			t.Errorf("%s: %v %v %v", name, p.Problems, p.Unresolved, p.Warnings)
		}
		asked := map[string]bool{}
		for _, a := range p.Assignments {
			asked[a.Name] = true
		}
		var got []string
		redirects, _ := Settle(c.of, p.Claims)
		for _, r := range redirects {
			policy, endpoints := clusterOf(t, p, r.Listener)
			got = append(got, fmt.Sprintf("%d %s", r.Ports[0], policy))
			if want := fmt.Sprintf("shop/web:%d", r.Ports[0]); endpoints != want || !asked[want] {
				t.Errorf("%s: cluster asks for %q of %v", name, endpoints, slices.Collect(maps.Keys(asked)))
			}
		}
		if text := strings.Join(got, ", "); text != c.want {
			t.Errorf("%s: %q, want %q", name, text, c.want)
		}
	}
}

// clusterOf finds the cluster of a port, which is called as its listener.
func clusterOf(t *testing.T, p Parsed, name string) (policy, endpoints string) {
	for _, r := range p.Resources {
		if r.Type == model.Cluster && r.Name == name {
			var c clusterv3.Cluster
			if err := proto.Unmarshal(r.Body, &c); err != nil {
				t.Fatal(err)
			}
			return c.LbPolicy.String(), c.EdsClusterConfig.ServiceName
		}
	}
	return "", ""
}

// TestBalanceGivesWay: who writes an object for a Service has its ports.
func TestBalanceGivesWay(t *testing.T) {
	w := read(t, strings.TrimSpace(hostileWorld))
	s := w.services[model.Name{Namespace: "tenant", Name: "web"}]
	s.Annotations = map[string]string{AnnotationBalance: "enabled"}
	o, _ := Balance{Enabled: true}.Object(s)
	written := Claim{Owner: model.Ref{Kind: Namespaced, Name: model.Name{Namespace: "tenant", Name: "x"}}, Service: model.Name{Namespace: "tenant", Name: "web"}, Ports: []uint16{80}, Listener: "theirs"}
	redirects, _ := Settle(s, append(Parse(o, w.world()).Claims, written))
	for _, r := range redirects {
		if r.Ports[0] == 80 && r.Listener != "theirs" {
			t.Errorf("port 80 is led to %s", r.Listener)
		}
	}
	if len(redirects) != 2 {
		t.Errorf("%v", redirects)
	}
}
