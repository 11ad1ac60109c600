package hostile

import (
	"net/netip"
	"testing"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/gateway"
	"github.com/waggle-mesh/waggle/internal/manifest"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/operator"
	"github.com/waggle-mesh/waggle/internal/standalone"
)

// pipeline leads from files to Envoy resources, as `waggle run` does, without
// Envoy.
type pipeline struct {
	t         testing.TB
	tables    flow.Graph
	feed      *manifest.Feed
	operator  *operator.Graph
	agent     *agent.Graph
	resources map[string]model.Resource
}

func newPipeline(t testing.TB, tables agent.RouteTables) *pipeline {
	p := &pipeline{t: t, resources: map[string]model.Resource{}}
	in := operator.NewInputs(&p.tables)
	slices := operator.Objects[*discoveryv1.EndpointSlice](&p.tables, "EndpointSlice")
	p.operator = operator.New(&p.tables, in, operator.NewAnswers(&p.tables), operator.Settings{
		Stage: gateway.Stage{Controller: standalone.Controller, PortOffset: 10000}, ImpliedClass: standalone.Class,
	})
	p.agent = agent.New(&p.tables, agent.Inputs{
		Listeners: p.operator.Listeners, VirtualHosts: p.operator.VirtualHosts,
		Backends: p.operator.Backends, Certificates: p.operator.Certificates,
		Services: in.Services, EndpointSlices: slices, RouteTables: tables,
		Address: func(*flow.Reader, model.Listener) (netip.Addr, bool) { return netip.MustParseAddr("127.0.0.1"), true },
	})
	p.feed = manifest.New(
		manifest.Kind(in.Classes), manifest.Kind(in.Gateways), manifest.Kind(in.HTTPRoutes),
		manifest.Kind(in.Grants), manifest.Kind(in.Services), manifest.Kind(slices),
		manifest.Kind(in.Secrets), manifest.Kind(in.Namespaces),
	)
	return p
}

// load reads what is new in the given files.
func (p *pipeline) load(paths ...string) {
	p.t.Helper()
	batch, err := p.feed.Load(paths...)
	if err != nil {
		p.t.Fatal(err)
	}
	batch.Apply()
	for again := true; again; {
		if err := p.tables.Commit(); err != nil {
			p.t.Fatal(err)
		}
		_, passed := p.operator.Expire(time.Now())
		again = p.agent.Settle() || passed
	}
	changed, removed := p.agent.Changes()
	for _, r := range changed {
		p.resources[r.Key()] = r
	}
	for _, r := range removed {
		delete(p.resources, r.Key())
	}
}

// all are the resources as they are now.
func (p *pipeline) all() map[string]model.Resource {
	out := make(map[string]model.Resource, len(p.resources))
	for key, r := range p.resources {
		out[key] = r
	}
	return out
}

// checkResource fails the test if Envoy would refuse a resource for what can
// be seen from outside.
func checkResource(t testing.TB, r model.Resource) {
	t.Helper()
	m, err := anypb.UnmarshalNew(&anypb.Any{TypeUrl: r.Type.TypeURL(), Value: r.Body}, proto.UnmarshalOptions{})
	if err != nil {
		t.Fatalf("%s: %v", r.Key(), err)
	}
	checkMessage(t, r.Key(), m)
	switch m := m.(type) {
	case *routev3.RouteConfiguration:
		names, domains := unique{}, unique{}
		for _, h := range m.VirtualHosts {
			names.add(t, r.Key(), h.Name)
			for _, d := range h.Domains {
				domains.add(t, r.Key(), d)
			}
		}
	case *listenerv3.Listener:
		names, servers := unique{}, unique{}
		for _, c := range m.FilterChains {
			names.add(t, r.Key(), c.Name)
			for _, s := range c.GetFilterChainMatch().GetServerNames() {
				servers.add(t, r.Key(), s)
			}
		}
	}
}

// unique is a set of names that may not stand twice.
type unique map[string]bool

func (u unique) add(t testing.TB, where, name string) {
	t.Helper()
	if u[name] {
		t.Errorf("%s has %q twice", where, name)
	}
	u[name] = true
}

// checkMessage fails the test if a message, or one that is packed anywhere in
// it, breaks a rule that its protobuf states.
func checkMessage(t testing.TB, where string, m proto.Message) {
	t.Helper()
	if v, ok := m.(interface{ ValidateAll() error }); ok {
		if err := v.ValidateAll(); err != nil {
			t.Errorf("%s: %v", where, err)
		}
	}
	checkFields(t, where, m.ProtoReflect())
}

func checkFields(t testing.TB, where string, m protoreflect.Message) {
	t.Helper()
	if a, ok := m.Interface().(*anypb.Any); ok {
		inner, err := a.UnmarshalNew()
		if err != nil {
			t.Errorf("%s: %v", where, err)
			return
		}
		checkMessage(t, where+" "+a.TypeUrl, inner)
		return
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap() && f.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				checkFields(t, where, v.Message())
				return true
			})
		case f.IsMap():
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				checkFields(t, where, v.List().Get(i).Message())
			}
		case !f.IsList() && f.Message() != nil:
			checkFields(t, where, v.Message())
		}
		return true
	})
}
