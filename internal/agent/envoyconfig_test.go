package agent

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

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

// config puts the object that most tests are about, with one resource.
func (g *configGround) config(generation int64, resource string, selector *metav1.LabelSelector) {
	g.put("ns", "c", ciliumv2.CiliumEnvoyConfig{ObjectMeta: metav1.ObjectMeta{Generation: generation}, Spec: ciliumv2.CiliumEnvoyConfigSpec{
		Resources: []ciliumv2.EnvoyResource{{JSON: []byte(resource)}}, NodeSelector: selector}})
}

func (g *configGround) put(namespace, name string, o ciliumv2.CiliumEnvoyConfig) {
	g.version++
	o.Namespace, o.Name = namespace, name
	g.in.Configs.Set(model.Object[*ciliumv2.CiliumEnvoyConfig]{Name: model.Name{Namespace: namespace, Name: name}, Version: fmt.Sprint(g.version), Value: &o})
}

// part puts an object of the operator's: part of another, or whole.
func (g *configGround) part(name, of string) {
	labels := map[string]string{ciliumv2.LabelGeneratedFor: "Gateway"}
	if of != "" {
		labels[ciliumv2.LabelPartOf] = of
	}
	g.put("ns", name, ciliumv2.CiliumEnvoyConfig{ObjectMeta: metav1.ObjectMeta{Generation: 1, Labels: labels}})
}

const (
	goodRoutes = `{"@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", "name": "r"}`
	badRoutes  = `{"@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", "name": "r", "nothing": 1}`
)

func (g *configGround) served() int64 {
	g.commit()
	c, ok := g.configs.Served.Get(model.Ref{Kind: "CiliumEnvoyConfig", Name: model.Name{Namespace: "ns", Name: "c"}}.Key())
	if !ok {
		return 0
	}
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

// TestRememberedConfigs: an agent that begins serves what an earlier one kept
// of an object that is not valid, if it is the same object and may still reach
// what it reaches for.
func TestRememberedConfigs(t *testing.T) {
	earlier := newConfigGround(t)
	earlier.node(nil)
	earlier.grant()
	earlier.config(1, othersService, nil)
	earlier.commit()
	for _, c := range []struct {
		what string
		do   func(g *configGround)
		want int64
	}{
		{"as it was", func(g *configGround) { g.config(1, othersService, nil) }, 1},
		{"not valid", func(g *configGround) { g.config(2, badRoutes, nil) }, 1},
		{"mended", func(g *configGround) { g.config(2, goodRoutes, nil) }, 2},
		{"gone", func(*configGround) {}, 0},
		{"another of that name", func(g *configGround) {
			g.put("ns", "c", ciliumv2.CiliumEnvoyConfig{ObjectMeta: metav1.ObjectMeta{UID: "other"}, Spec: ciliumv2.CiliumEnvoyConfigSpec{
				Resources: []ciliumv2.EnvoyResource{{JSON: []byte(badRoutes)}}}})
		}, 0},
		{"not valid and not permitted", func(g *configGround) { g.config(2, badRoutes, nil); g.in.Grants.Delete("other/g") }, 0},
	} {
		g := newConfigGround(t)
		g.configs.in.Remembered = map[string]KeptConfig{}
		for _, k := range earlier.configs.Kept.All() {
			g.configs.in.Remembered[k.Key()] = k
		}
		g.version = 100
		g.node(nil)
		g.grant()
		c.do(g)
		if got := g.served(); got != c.want {
			t.Errorf("%s: generation %d is served, want %d", c.what, got, c.want)
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
// is not served, and is again when it may; also where a newer version of it is
// not valid.
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
		{func() { g.config(4, someFile, nil) }, 2},
		{func() { g.in.Services.Delete("ns/again") }, 0}, // though that is not what the newest asks for
		{func() { g.service("web", "10.96.0.7") }, 2},
		{func() { g.config(5, badRoutes, nil); g.in.Services.Delete("ns/web") }, 0},
		{func() { g.config(6, othersService, nil) }, 6},
		{func() { g.config(7, someFile, nil) }, 6},
		{func() { g.in.Grants.Delete("other/g") }, 0},
		{func() { g.grant() }, 6},
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

// TestManyRejections: where there is no room for all, each namespace and each
// object has its turn, and an object of which nothing is told is not answered.
func TestManyRejections(t *testing.T) {
	g := newConfigGround(t)
	g.node(nil)
	var said []xds.Status
	reject := func(namespace, name string, resources int) {
		g.put(namespace, name, ciliumv2.CiliumEnvoyConfig{ObjectMeta: metav1.ObjectMeta{Generation: 7}})
		for i := range resources {
			said = append(said, xds.Status{
				ResourceKey: model.ResourceKey{Type: model.Cluster, Name: fmt.Sprint(namespace, name, i)}, State: model.Rejected, Wanted: true,
				Message: strings.Repeat("é", 1000),
				Owners:  []model.Ref{{Kind: "CiliumEnvoyConfig", Name: model.Name{Namespace: namespace, Name: name}}},
			})
		}
	}
	reject("a", "many", 60)
	for i := range 60 {
		reject("b", fmt.Sprint("c", i), 1)
	}
	reject("z", "last", 2)
	g.commit()
	before := EnvoyAnswer{Node: "n1", Configs: []waggle.AnsweredConfig{{Namespace: "b", Name: "c9", Generation: 7}}}
	answer := g.configs.Answer(before, said, func(string) bool { return true })
	told, messages := map[string]int{}, ""
	for _, r := range answer.Rejected {
		told[r.Namespace+"/"+r.Name]++
		messages += r.Message
	}
	if len(messages) > 9<<10 || !utf8.ValidString(messages) {
		t.Errorf("messages have %d bytes", len(messages))
	}
	if len(answer.Rejected) != 50 || answer.More != 72 || told["a/many"] != 1 || told["z/last"] != 1 {
		t.Errorf("%d more than those of %v", answer.More, told)
	}
	for _, c := range answer.Configs {
		if told[c.Namespace+"/"+c.Name] == 0 {
			t.Errorf("%v is answered, and nobody learns what Envoy has against it", c)
		}
	}
	if len(answer.Configs) != len(told) {
		t.Errorf("%d are answered, %d rejected", len(answer.Configs), len(told))
	}
}

// TestPartOfManyRejections: of an object with a part that Envoy rejects, and of
// which there is no room to tell, nothing is said.
func TestPartOfManyRejections(t *testing.T) {
	g := newConfigGround(t)
	g.node(nil)
	g.part("gw", "")
	g.part("gw.1", "gw")
	g.commit()
	var said []xds.Status
	for i := range 51 {
		said = append(said, xds.Status{
			ResourceKey: model.ResourceKey{Type: model.Cluster, Name: fmt.Sprint(i)}, State: model.Rejected,
			Owners: []model.Ref{{Kind: "CiliumEnvoyConfig", Name: model.Name{Namespace: fmt.Sprint("a", i), Name: "c"}}},
		})
	}
	answers := func() int {
		return len(g.configs.Answer(EnvoyAnswer{Node: "n1"}, said, func(string) bool { return true }).Configs)
	}
	if answers() != 1 {
		t.Fatal("what Envoy has nothing against is not answered")
	}
	said[50].Owners[0] = model.Ref{Kind: "CiliumEnvoyConfig", Name: model.Name{Namespace: "ns", Name: "gw.1"}}
	if answers() != 0 {
		t.Error("it is answered")
	}
}

// TestBehind: an answer is looked at again until it speaks of the newest
// generation of every object; that of a part nobody asks for.
func TestBehind(t *testing.T) {
	g := newConfigGround(t)
	g.node(nil)
	g.config(5, goodRoutes, nil)
	g.part("gw", "")
	g.part("gw.1", "gw")
	g.commit()
	answer := func(names string, generation int64) (a EnvoyAnswer) {
		for _, name := range strings.Fields(names) {
			a.Configs = append(a.Configs, waggle.AnsweredConfig{Namespace: "ns", Name: name, Generation: generation})
			generation = 1
		}
		return a
	}
	for i, c := range []struct {
		answer EnvoyAnswer
		behind bool
	}{
		{answer("", 0), true},
		{answer("c", 5), true},
		{answer("c gw", 4), true},
		{answer("c gw", 5), false},
	} {
		if got := g.configs.Behind(c.answer); got != c.behind {
			t.Errorf("answer %d is behind: %t", i+1, got)
		}
	}
}
