package operator

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	waggle "github.com/waggle-mesh/waggle/api/waggle.io/v1alpha1"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
)

// configWorld is a cluster with one Service, in which the test changes things.
type configWorld struct {
	t       *testing.T
	tables  *flow.Graph
	in      ClusterInputs
	cluster *Cluster
	version int
}

func newConfigWorld(t *testing.T) *configWorld {
	w := &configWorld{t: t, tables: &flow.Graph{}}
	w.in = NewClusterInputs(w.tables)
	w.cluster = NewCluster(w.tables, w.in, ClusterSettings{})
	w.in.Services.Set(model.Object[*corev1.Service]{Name: model.Name{Namespace: "default", Name: "web"}, Value: &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.96.0.7", Ports: []corev1.ServicePort{{Port: 80}}},
	}})
	return w
}

func (w *configWorld) next() string {
	w.version++
	return fmt.Sprint(w.version)
}

const listenerAndCluster = `[
 {"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": "l", "filter_chains": [{"filters": [{"name": "envoy.filters.network.tcp_proxy",
  "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "x", "cluster": "CLUSTER"}}]}]},
 {"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "c", "type": "EDS", "eds_cluster_config": {"service_name": "BACKEND"}}]`

// config makes an object that leads Service web to a listener.
func (w *configWorld) config(name string, generation int64, change func(*ciliumv2.CiliumEnvoyConfig), replace ...string) {
	o := &ciliumv2.CiliumEnvoyConfig{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Generation: generation}}
	o.Spec.Services = []ciliumv2.ServiceListener{{Name: "web"}}
	text := strings.NewReplacer(append(replace, "CLUSTER", "c", "BACKEND", "default/web:80")...).Replace(listenerAndCluster)
	for _, part := range strings.Split(strings.Trim(text, "[]"), "}]}]},") {
		if !strings.Contains(part, "Cluster\"") {
			part += "}]}]}"
		}
		o.Spec.Resources = append(o.Spec.Resources, ciliumv2.EnvoyResource{JSON: []byte(part)})
	}
	if change != nil {
		change(o)
	}
	w.in.Configs.Set(model.Object[*ciliumv2.CiliumEnvoyConfig]{Name: model.Name{Namespace: "default", Name: name}, Version: w.next(), Value: o})
}

// node makes a node whose Envoy has answered a version of object a, and has
// something against it unless that is empty.
func (w *configWorld) node(name string, ready bool, generation int64, against string) {
	state := corev1.ConditionFalse
	if ready {
		state = corev1.ConditionTrue
	}
	w.in.Nodes.Set(model.Object[*corev1.Node]{Name: model.Name{Name: name}, Version: w.next(), Value: &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"name": name}},
		Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: state}}},
	}})
	said := &waggle.EnvoyNode{Configs: []waggle.AnsweredConfig{{Namespace: "default", Name: "a", Generation: generation}}}
	if against != "" {
		said.Rejected = []waggle.RejectedResource{{Namespace: "default", Name: "a", Generation: generation,
			Type: "envoy.config.listener.v3.Listener", Resource: "default/a/l", Message: against}}
	}
	w.in.EnvoyNodes.Set(model.Object[*waggle.EnvoyNode]{Name: model.Name{Name: name}, Version: w.next(), Value: said})
}

// expect compares the conditions of object a that are not as they should be,
// and Programmed.
func (w *configWorld) expect(want ...string) {
	w.t.Helper()
	if err := w.tables.Commit(); err != nil {
		w.t.Fatal(err)
	}
	s, _ := w.cluster.EnvoyConfigs.Statuses.Get(model.Ref{Kind: "CiliumEnvoyConfig", Name: model.Name{Namespace: "default", Name: "a"}}.Key())
	var got []string
	for _, c := range s.Conditions {
		if !c.Good || c.Type == "Programmed" {
			got = append(got, fmt.Sprintf("%s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message))
		}
	}
	for _, r := range s.Rejections {
		got = append(got, fmt.Sprintf("%s rejects %s: %s", r.Node, r.Resource, r.Message))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.t.Errorf("a says\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// TestEnvoyConfigStatus follows one object through what nodes say of it.
func TestEnvoyConfigStatus(t *testing.T) {
	w := newConfigWorld(t)
	w.config("a", 1, nil)
	w.expect("Programmed=Unknown NoNodes: no node that is Ready serves it")
	w.node("n1", true, 0, "")
	w.node("n2", true, 1, "")
	w.node("n3", false, 0, "")
	w.expect("Programmed=Unknown Pending: 1 of 2 nodes use it; waiting for n1")
	w.node("n1", true, 1, "")
	w.expect("Programmed=True Programmed: 2 of 2 nodes use it")
	w.node("n4", true, 1, "")
	w.in.EnvoyNodes.Delete("n4")
	w.expect("Programmed=True Programmed: 2 of 2 nodes use it; no Envoy is known on n4")
	w.in.Nodes.Delete("n4")
	w.node("n2", true, 1, "cannot bind")
	w.expect("Programmed=False Rejected: cannot bind (node n2)", "n2 rejects Listener default/a/l: cannot bind")
	w.config("a", 2, nil)
	w.expect("Programmed=Unknown Pending: 0 of 2 nodes use it; waiting for n1, n2")
	w.in.EnvoyNodes.Set(model.Object[*waggle.EnvoyNode]{Name: model.Name{Name: "n2"}, Version: w.next(), Value: &waggle.EnvoyNode{MoreRejected: 1}})
	w.expect("Programmed=Unknown Pending: 0 of 2 nodes use it; waiting for n1, n2; Envoy on n2 rejects more than there is room to tell of, this object perhaps")
	w.config("a", 3, func(o *ciliumv2.CiliumEnvoyConfig) {
		o.Spec.NodeSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"name": "n1"}}
	})
	w.node("n1", true, 3, "")
	w.expect("Programmed=True Programmed: 1 of 1 nodes use it")
	digest := func(generation int64) {
		one := waggle.AnsweredConfig{Namespace: "default", Name: "a", Generation: generation}
		w.in.EnvoyNodes.Set(model.Object[*waggle.EnvoyNode]{Name: model.Name{Name: "n1"}, Version: w.next(), Value: &waggle.EnvoyNode{Digests: "eight678" + one.Digest()}})
	}
	named := waggle.AnsweredConfig{Name: waggle.AnsweredConfig{Namespace: "default", Name: "a", Generation: 3}.Digest(), Generation: 1}
	w.in.EnvoyNodes.Set(model.Object[*waggle.EnvoyNode]{Name: model.Name{Name: "n1"}, Version: w.next(), Value: &waggle.EnvoyNode{Configs: []waggle.AnsweredConfig{named}}})
	w.expect("Programmed=Unknown Pending: 0 of 1 nodes use it; waiting for n1") // another's name is not its digest
	digest(2)
	w.expect("Programmed=Unknown Pending: 0 of 1 nodes use it; waiting for n1")
	digest(3)
	w.expect("Programmed=True Programmed: 1 of 1 nodes use it")
	w.config("a", 4, nil, "CLUSTER", "d")
	w.expect(
		`Accepted=False Invalid: resources[0] Listener l: filter_chains[0].filters[0].typed_config.cluster: the object has no Cluster "d", did you mean "c"?`,
		"Programmed=False NotAccepted: nodes that had a valid version of it go on with that one")
}

// TestEnvoyConfigWorld: Services, other objects and ReferenceGrants come and go.
func TestEnvoyConfigWorld(t *testing.T) {
	w := newConfigWorld(t)
	w.node("n1", true, 9, "")
	programmed := "Programmed=True Programmed: 1 of 1 nodes use it"
	w.config("a", 1, nil, "BACKEND", "other/web:80")
	refused := `Accepted=False RefNotPermitted: resources[1] Cluster c: eds_cluster_config.service_name: Service other/web is in another namespace, where no ReferenceGrant lets CiliumEnvoyConfigs of default name it`
	notAccepted := "Programmed=False NotAccepted: nodes that had a valid version of it go on with that one"
	w.expect(refused, notAccepted)
	grant := model.Object[*gatewayv1.ReferenceGrant]{Name: model.Name{Namespace: "other", Name: "g"}, Version: "1", Value: &gatewayv1.ReferenceGrant{
		Spec: gatewayv1.ReferenceGrantSpec{
			From: []gatewayv1.ReferenceGrantFrom{{Group: "cilium.io", Kind: "CiliumEnvoyConfig", Namespace: "default"}},
			To:   []gatewayv1.ReferenceGrantTo{{Kind: "Service"}},
		},
	}}
	w.in.Grants.Set(grant)
	w.expect("ResolvedRefs=False ServiceNotFound: resources: cluster other/web:80: Service other/web does not exist", programmed)
	w.in.Services.Set(model.Object[*corev1.Service]{Name: model.Name{Namespace: "other", Name: "web"}, Value: &corev1.Service{
		Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.8", Ports: []corev1.ServicePort{{Port: 80}}},
	}})
	w.expect(programmed)
	w.in.Grants.Delete(grant.Key())
	w.expect(refused, notAccepted)

	w.config("a", 2, func(o *ciliumv2.CiliumEnvoyConfig) { o.CreationTimestamp = metav1.Unix(200, 0) })
	w.expect(programmed)
	w.config("b", 1, func(o *ciliumv2.CiliumEnvoyConfig) { o.CreationTimestamp = metav1.Unix(100, 0) })
	w.expect("Programmed=False Conflict: services[0]: port 80 of Service default/web is led elsewhere by CiliumEnvoyConfig default/b, which is older")
	w.in.Configs.Delete("default/b")
	w.expect(programmed)
}
