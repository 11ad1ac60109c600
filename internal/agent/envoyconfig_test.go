package agent

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	waggle "github.com/waggle-mesh/waggle/api/waggle.io/v1alpha1"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/xds"
)

// configGround is the pipeline from objects to what is served of them.
type configGround struct {
	t       *testing.T
	graph   flow.Graph
	in      EnvoyInputs
	configs *EnvoyConfigs
	version int
}

func newConfigGround(t *testing.T) *configGround {
	g := &configGround{t: t}
	g.in = NewEnvoyInputs(&g.graph, NewNodeInputs(&g.graph))
	g.configs = NewEnvoyConfigs(&g.graph, g.in, "n1")
	return g
}

func (g *configGround) commit() {
	g.t.Helper()
	for again := true; again; again = g.configs.Settle() {
		if err := g.graph.Commit(); err != nil {
			g.t.Fatal(err)
		}
	}
}

func (g *configGround) node(labels map[string]string) {
	g.version++
	g.in.Nodes.Set(model.Object[*corev1.Node]{Name: model.Name{Name: "n1"}, Version: fmt.Sprint(g.version), Value: &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: labels},
	}})
}

// config puts an object with one resource.
func (g *configGround) config(generation int64, resource string, selector *metav1.LabelSelector) {
	g.version++
	g.in.Configs.Set(model.Object[*ciliumv2.CiliumEnvoyConfig]{Name: model.Name{Namespace: "ns", Name: "c"}, Version: fmt.Sprint(g.version),
		Value: &ciliumv2.CiliumEnvoyConfig{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "c", Generation: generation},
			Spec:       ciliumv2.CiliumEnvoyConfigSpec{Resources: []ciliumv2.EnvoyResource{{JSON: []byte(resource)}}, NodeSelector: selector},
		}})
}

const (
	goodRoutes = `{"@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", "name": "r"}`
	badRoutes  = `{"@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", "name": "r", "nothing": 1}`
)

func (g *configGround) served() int64 {
	g.commit()
	c, _ := g.configs.Served.Get(model.Ref{Kind: "CiliumEnvoyConfig", Name: model.Name{Namespace: "ns", Name: "c"}}.Key())
	return c.Generation
}

// TestServedConfigs: of an object that is not valid any more, what it asked for
// before stays; one that is gone, or for other nodes, is not served.
func TestServedConfigs(t *testing.T) {
	g := newConfigGround(t)
	g.node(nil)
	for i, step := range []struct {
		do   func()
		want int64
	}{
		{func() { g.config(1, badRoutes, nil) }, 0},
		{func() { g.config(2, goodRoutes, nil) }, 2},
		{func() { g.config(3, badRoutes, nil) }, 2},
		{func() { g.config(4, goodRoutes, &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}) }, 0},
		{func() { g.node(map[string]string{"a": "b"}) }, 4},
		{func() { g.in.Configs.Delete("ns/c") }, 0},
	} {
		step.do()
		if got := g.served(); got != step.want {
			t.Errorf("step %d: generation %d is served, want %d", i+1, got, step.want)
		}
	}
}

// grant lets ns name the Service "shared" of namespace other.
func (g *configGround) grant() {
	g.version++
	g.in.Grants.Set(model.Object[*gatewayv1.ReferenceGrant]{Name: model.Name{Namespace: "other", Name: "g"}, Version: fmt.Sprint(g.version),
		Value: &gatewayv1.ReferenceGrant{
			ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "g"},
			Spec: gatewayv1.ReferenceGrantSpec{
				From: []gatewayv1.ReferenceGrantFrom{{Group: "cilium.io", Kind: "CiliumEnvoyConfig", Namespace: "ns"}},
				To:   []gatewayv1.ReferenceGrantTo{{Kind: "Service"}},
			},
		}})
}

// service puts one that has an address.
func (g *configGround) service(name, address string) {
	g.version++
	g.in.Services.Set(model.Object[*corev1.Service]{Name: model.Name{Namespace: "ns", Name: name}, Version: fmt.Sprint(g.version),
		Value: &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name},
			Spec:       corev1.ServiceSpec{ClusterIP: address, ClusterIPs: []string{address}, Ports: []corev1.ServicePort{{Port: 80}}},
		}})
}

const (
	othersService = `{"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "other/shared", "type": "EDS"}`
	ownAddress    = `{"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "c", "load_assignment": {"cluster_name": "c",
		"endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "10.96.0.7", "port_value": 80}}}}]}]}}`
	someFile = `{"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret", "name": "s",
		"generic_secret": {"secret": {"filename": "/etc/passwd"}}}`
)

// TestRevokedConfigs: an object that may not reach any more what it reaches for
// is not served, and is again when it may.
func TestRevokedConfigs(t *testing.T) {
	g := newConfigGround(t)
	g.node(nil)
	for i, step := range []struct {
		do   func()
		want int64
	}{
		{func() { g.grant(); g.config(1, othersService, nil) }, 1},
		{func() { g.in.Grants.Delete("other/g") }, 0},
		{func() { g.grant() }, 1},
		{func() { g.service("web", "10.96.0.7"); g.config(2, ownAddress, nil) }, 2},
		{func() { g.in.Services.Delete("ns/web") }, 0},
		{func() { g.service("again", "10.96.0.7") }, 2},
		{func() { g.config(3, badRoutes, nil) }, 2},
		{func() { g.config(4, someFile, nil) }, 0},
	} {
		step.do()
		if got := g.served(); got != step.want {
			t.Errorf("step %d: generation %d is served, want %d", i+1, got, step.want)
		}
	}
}

// TestAnswer: an object is answered when Envoy has answered all that it is made
// of and connections are led to it; until then its earlier generation is.
func TestAnswer(t *testing.T) {
	g := newConfigGround(t)
	g.node(nil)
	g.config(5, goodRoutes, nil)
	g.commit()
	owner := []model.Ref{{Kind: "CiliumEnvoyConfig", Name: model.Name{Namespace: "ns", Name: "c"}}}
	resource := func(state model.OutcomeState, wanted bool) xds.Status {
		return xds.Status{ResourceKey: model.ResourceKey{Type: model.RouteConfiguration, Name: "ns/c/r"}, State: state, Message: "no", Owners: owner, Wanted: wanted}
	}
	answer := EnvoyAnswer{Node: "n1"}
	for i, step := range []struct {
		said     xds.Status
		want     string
		rejected int
	}{
		{resource(model.Pending, true), "[]", 0},
		{resource(model.Pending, false), "[{ns c 5}]", 0}, // no listener asks for it
		{resource(model.Accepted, true), "[{ns c 5}]", 0},
		{resource(model.Pending, true), "[{ns c 5}]", 0},
		{resource(model.Rejected, true), "[{ns c 5}]", 1},
	} {
		answer = g.configs.Answer(answer, []xds.Status{step.said}, func(string) bool { return true })
		if got := fmt.Sprint(answer.Configs); got != step.want || len(answer.Rejected) != step.rejected {
			t.Errorf("step %d: %s, rejected %v; want %s, %d", i+1, got, answer.Rejected, step.want, step.rejected)
		}
	}
	if want := (waggle.RejectedResource{Namespace: "ns", Name: "c", Generation: 5, Type: string(model.RouteConfiguration), Resource: "ns/c/r", Message: "no"}); answer.Rejected[0] != want {
		t.Errorf("rejected is %+v", answer.Rejected[0])
	}
}
