package agent

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/api/cilium.io/v2alpha1"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/golden"
	"github.com/waggle-mesh/waggle/internal/model"
)

// TestNode runs testdata/node/*.txtar: in.yaml has the cluster's objects, links
// the pods of node n1, rows what must come of them. The same must come of them
// one at a time in any order, and nothing be left when they are gone.
func TestNode(t *testing.T) {
	golden.Run(t, "testdata/node/*.txtar", nodeGolden)
}

// ground is a graph and its inputs.
type ground struct {
	t     *testing.T
	graph flow.Graph
	in    NodeInputs
	node  *NodeGraph
}

func newGround(t *testing.T) *ground {
	g := &ground{t: t}
	g.in = NewNodeInputs(&g.graph)
	nth := func(n int) func(netip.Prefix) netip.Addr {
		return func(p netip.Prefix) netip.Addr {
			a := p.Addr()
			for range n {
				a = a.Next()
			}
			return a
		}
	}
	g.node = NewNode(&g.graph, g.in, NodeSettings{Node: "n1", Cluster: "default", Uplink: "eth0", Router: nth(1), Ingress: nth(2)})
	return g
}

func (g *ground) commit() {
	g.t.Helper()
	if err := g.graph.Commit(); err != nil {
		g.t.Fatal(err)
	}
}

// An action puts an input into a graph, or takes it out.
type action struct{ put, remove func(*ground) }

func nodeGolden(t *testing.T, c *golden.Case) {
	actions := append(objectActions(t, c.Section("in.yaml")), linkActions(t, c.Section("links"))...)
	at := func() *ground {
		g := newGround(t)
		for _, a := range actions {
			a.put(g)
		}
		g.commit()
		return g
	}
	got := at().rows()
	for seed := range uint64(5) {
		random := rand.New(rand.NewPCG(seed, 0))
		random.Shuffle(len(actions), func(i, j int) { actions[i], actions[j] = actions[j], actions[i] })
		g := newGround(t)
		for _, a := range actions {
			a.put(g)
			g.commit()
		}
		if again := g.rows(); again != got {
			t.Fatalf("in another order:\n%s\nwas:\n%s", again, got)
		}
		for _, a := range actions {
			a.remove(g)
			g.commit()
		}
		if left := g.rows(); left != "" {
			t.Fatalf("left when all is gone:\n%s", left)
		}
	}
	c.Expect("rows", got)
}

func objectActions(t *testing.T, text string) (out []action) {
	for document := range strings.SplitSeq(text, "---\n") {
		var meta metav1.PartialObjectMetadata
		if err := yaml.Unmarshal([]byte(document), &meta); err != nil {
			t.Fatal(err)
		}
		namespace := meta.Namespace
		row := func(namespaced bool) (name model.Name, version string) {
			if !namespaced {
				return model.Name{Name: meta.Name}, document
			}
			if namespace == "" {
				namespace = "default"
			}
			return model.Name{Namespace: namespace, Name: meta.Name}, document
		}
		switch meta.Kind {
		case "Node":
			out = append(out, objectAction(t, document, row, false, new(corev1.Node), func(g *ground) *flow.Table[model.Object[*corev1.Node]] { return g.in.Nodes }))
		case "Pod":
			out = append(out, objectAction(t, document, row, true, new(corev1.Pod), func(g *ground) *flow.Table[model.Object[*corev1.Pod]] { return g.in.Pods }))
		case "Namespace":
			out = append(out, objectAction(t, document, row, false, new(corev1.Namespace), func(g *ground) *flow.Table[model.Object[*corev1.Namespace]] { return g.in.Namespaces }))
		case "Service":
			out = append(out, objectAction(t, document, row, true, new(corev1.Service), func(g *ground) *flow.Table[model.Object[*corev1.Service]] { return g.in.Services }))
		case "EndpointSlice":
			out = append(out, objectAction(t, document, row, true, new(discoveryv1.EndpointSlice), func(g *ground) *flow.Table[model.Object[*discoveryv1.EndpointSlice]] { return g.in.EndpointSlices }))
		case "CiliumIdentity":
			out = append(out, objectAction(t, document, row, false, new(ciliumv2.CiliumIdentity), func(g *ground) *flow.Table[model.Object[*ciliumv2.CiliumIdentity]] { return g.in.Identities }))
		case "CiliumL2AnnouncementPolicy":
			out = append(out, objectAction(t, document, row, false, new(v2alpha1.CiliumL2AnnouncementPolicy), func(g *ground) *flow.Table[model.Object[*v2alpha1.CiliumL2AnnouncementPolicy]] {
				return g.in.Policies
			}))
		case "CiliumEndpoint":
			out = append(out, objectAction(t, document, row, true, new(ciliumv2.CiliumEndpoint), func(g *ground) *flow.Table[model.Object[*ciliumv2.CiliumEndpoint]] { return g.in.Endpoints }))
		default:
			t.Fatalf("kind %q", meta.Kind)
		}
	}
	return out
}

func objectAction[T metav1.Object](t *testing.T, document string, row func(bool) (model.Name, string), namespaced bool, into T, table func(*ground) *flow.Table[model.Object[T]]) action {
	if err := yaml.UnmarshalStrict([]byte(document), into); err != nil {
		t.Fatal(err)
	}
	name, version := row(namespaced)
	into.SetNamespace(name.Namespace)
	return action{
		func(g *ground) { table(g).Set(model.Object[T]{Name: name, Version: version, Value: into}) },
		func(g *ground) { table(g).Delete(name.String()) },
	}
}

// linkActions reads lines such as "1 default/web 10.0.1.5 fd00::5 uid:u".
func linkActions(t *testing.T, text string) (out []action) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		e := model.PodEndpoint{Container: "c" + words[0], PodDevice: "eth0"}
		if _, err := fmt.Sscan(words[0], &e.ID); err != nil {
			t.Fatal(err)
		}
		e.Pod.Namespace, e.Pod.Name, _ = strings.Cut(words[1], "/")
		for _, a := range words[2:] {
			if uid, ok := strings.CutPrefix(a, "uid:"); ok {
				e.UID = uid
				continue
			}
			e.Addresses = append(e.Addresses, netip.MustParseAddr(a))
		}
		out = append(out, action{func(g *ground) { g.in.Links.Set(e) }, func(g *ground) { g.in.Links.Delete(e.Key()) }})
	}
	return out
}

// rows are what a node's graph wants, or what the world has of it.
type rows struct {
	frontends   []model.Frontend
	sets        []model.BackendSet
	unsupported []Unsupported
	endpoints   []model.PodEndpoint
	objects     []EndpointObject
	requests    []IdentityRequest
	identities  []model.IPIdentity
	routes      []model.NodeRoute
	annotations []NodeAnnotations
	announced   []model.Announcement
}

func (g *ground) rows() string {
	n := g.node
	return rows{n.Frontends.All(), n.BackendSets.All(), n.Unsupported.All(), n.PodEndpoints.All(), n.EndpointObjects.All(),
		n.Requests.All(), n.IPIdentities.All(), n.Routes.All(), n.Annotations.All(), n.Announcements.All()}.String()
}

// String has a line for each row.
func (r rows) String() string {
	var out []string
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, f := range r.frontends {
		say("frontend %s %s of %s", f.Address, f.Protocol, f.Service)
	}
	for _, s := range r.sets {
		say("set %s: %v", strings.ReplaceAll(s.Key(), "|", " "), s.Backends)
	}
	for _, u := range r.unsupported {
		say("unsupported %s: %s", u.Object, strings.Join(u.Fields, "; "))
	}
	for _, e := range r.endpoints {
		say("endpoint %d %s %v identity %d", e.ID, e.Pod, e.Addresses, e.Identity)
	}
	for _, o := range r.objects {
		say("CiliumEndpoint %s %s at %s, %v", o.Name, o.Status.State, o.Status.Networking.NodeIP, o.Status.NamedPorts)
	}
	for _, i := range r.requests {
		say("request %s", strings.Join(i.Labels.List(), " "))
	}
	for _, i := range r.identities {
		say("ip %s identity %d%s", i.Prefix, i.Identity, at(i.Node))
	}
	for _, w := range r.routes {
		say("route %s via %s", w.Prefix, w.Via)
	}
	for _, a := range r.annotations {
		var all []string
		for name, v := range a.Values {
			if v == nil {
				all = append(all, name+"-")
			} else {
				all = append(all, name+"="+*v)
			}
		}
		slices.Sort(all)
		say("annotate %s %s", a.Node, strings.Join(all, " "))
	}
	for _, a := range r.announced {
		say("announce %v of %s", a.Addresses, a.Service)
	}
	if len(out) == 0 {
		return ""
	}
	return strings.Join(out, "\n") + "\n"
}

func at(node netip.Addr) string {
	if !node.IsValid() {
		return ""
	}
	return " at " + node.String()
}
