package agent

import (
	"fmt"
	"slices"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
)

// listenerGround is the pipeline to Envoys with nothing but listeners.
type listenerGround struct {
	graph flow.Graph
	proxy *ProxyGraph
	in    ProxyInputs
}

func newListenerGround() *listenerGround {
	g := &listenerGround{}
	in := NewEnvoyInputs(&g.graph, NewNodeInputs(&g.graph))
	g.in = NewEnvoyConfigs(&g.graph, in, "n1").Inputs(&g.graph, render.Node{})
	g.in.Offers = flow.NewTable(&g.graph, "test's offers", Offer.Equal)
	g.in.Redirects = flow.NewTable(&g.graph, "test's redirects", same[model.ServiceRedirect])
	g.proxy = NewProxy(&g.graph, g.in)
	return g
}

// listener offers one, and leads a Service to it.
func (g *listenerGround) listener(name string, generated, led bool) {
	owner := model.Ref{Kind: "CiliumEnvoyConfig", Name: model.Name{Namespace: "ns", Name: name}}
	g.in.Offers.Set(Offer{Object: owner, ProxyResource: model.ProxyResource{Generated: generated, Resource: model.Resource{
		ResourceKey: model.ResourceKey{Type: model.EnvoyListener, Name: name}, Owners: []model.Ref{owner}}}})
	if led {
		g.in.Redirects.Set(model.ServiceRedirect{Service: model.Name{Namespace: "ns", Name: name}, Listener: name, Owner: owner})
	}
}

// TestWantedListeners: a listener gets a number when a Service is led to it;
// the operator's come first, and some numbers are left for them; who got one
// keeps it, and who got none is told.
func TestWantedListeners(t *testing.T) {
	g := newListenerGround()
	g.listener("idle", false, false)
	for i := range mostUsers + 2 {
		g.listener(fmt.Sprintf("l%04d", i), false, true)
	}
	g.graph.Commit()
	names := g.proxy.WantedNames()
	if len(names) != mostUsers || slices.Contains(names, "idle") {
		t.Fatalf("%d listeners get numbers, from %s to %s", len(names), names[0], names[len(names)-1])
	}
	for i, name := range names {
		g.proxy.Numbers.Set(ListenerNumber{name, uint16(i + 1)})
	}
	g.listener("a", false, true)
	g.listener("gateway", true, true)
	g.graph.Commit()
	if now := g.proxy.WantedNames(); now[0] != "gateway" || !slices.Equal(now[1:], names) {
		t.Errorf("%d listeners get numbers then, from %s to %s", len(now), now[0], now[len(now)-1])
	}
	g.proxy.Numbers.Set(ListenerNumber{"gateway", 4500})
	g.graph.Commit()
	var left []string
	for _, r := range g.proxy.Unnumbered() {
		left = append(left, r.Name)
		if len(r.Owners) != 1 || r.Owners[0].Name.Name != r.Name || r.State != model.Rejected {
			t.Errorf("%s: %+v", r.Name, r)
		}
	}
	if want := []string{"a", "l4000", "l4001"}; !slices.Equal(left, want) {
		t.Errorf("without a number are %v, want %v", left, want)
	}
	g.in.Redirects.Delete(g.in.Redirects.All()[0].Key()) // a's
	g.graph.Commit()
	if len(g.proxy.Unnumbered()) != 2 {
		t.Error("a is still wanted")
	}
}

// TestListenerInShares: the filter chains of a listener of the operator's may
// stand in several objects, all of which are told what becomes of it.
func TestListenerInShares(t *testing.T) {
	g := newListenerGround()
	gw := model.Name{Namespace: "ns", Name: "web"}
	for _, host := range []string{"a", "b"} {
		owner := model.Ref{Kind: "CiliumEnvoyConfig", Name: model.Name{Namespace: "ns", Name: host}}
		l := model.Listener{Gateway: gw, Port: 443, Protocol: model.HTTPS, Chains: []model.Chain{{Hostname: host, Table: model.TableKey(gw, 443, host)}}}
		r := render.Listener(l, render.ListenerOptions{})
		r.Owners = []model.Ref{owner}
		g.in.Offers.Set(Offer{Object: owner, ProxyResource: model.ProxyResource{Generated: true, Resource: r}})
	}
	g.graph.Commit()
	r := g.proxy.offered(model.ListenerKey(gw, 443))
	if tables := render.RouteTables(r.Resource); len(tables) != 2 || len(r.Owners) != 2 {
		t.Errorf("the listener has tables %q, and is of %v", tables, r.Owners)
	}
}

// TestListenerFilters: finding out where a client wanted to go costs each
// connection something, and listeners of Gateways do not ask for it.
func TestListenerFilters(t *testing.T) {
	gw := model.Name{Namespace: "ns", Name: "web"}
	key := model.ListenerKey(gw, 80)
	for generated, filters := range map[bool]int{true: 0, false: 1} {
		g := newListenerGround()
		g.listener(key, generated, true)
		offer := g.in.Offers.All()[0]
		offer.Resource = render.Listener(model.Listener{Gateway: gw, Port: 80, Protocol: model.HTTP, Chains: []model.Chain{{Table: "t"}}}, render.ListenerOptions{})
		g.in.Offers.Set(offer)
		g.proxy.Numbers.Set(ListenerNumber{key, 1})
		g.graph.Commit()
		changed, _ := g.proxy.Changes()
		i := slices.IndexFunc(changed, func(r model.Resource) bool { return r.Type == model.EnvoyListener })
		var l listenerv3.Listener
		if err := proto.Unmarshal(changed[i].Body, &l); err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, f := range l.ListenerFilters {
			if f.Name == "envoy.filters.listener.original_dst" {
				n++
			}
		}
		if n != filters {
			t.Errorf("generated %t: %v", generated, l.ListenerFilters)
		}
	}
}
