package envoyconfig

import (
	"fmt"
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"

	"github.com/waggle-mesh/waggle/internal/envoyconfig/allow"
	"github.com/waggle-mesh/waggle/internal/envoyconfig/strict"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Parsed is what is made of an object.
type Parsed struct {
	Object model.Ref
	// Resources, Fragments, Assignments and Claims are empty where Problems
	// has one that is not unresolved.
	Resources   []model.ProxyResource
	Fragments   []model.RouteFragment
	Assignments []model.Assignment // sorted by name
	Claims      []Claim
	// Problems are why the object is not accepted.
	Problems []Problem
	// Unresolved are references to Services that lead nowhere yet: the rest
	// of the object is served.
	Unresolved []Problem
	// Warnings are what the author should know, and change some day.
	Warnings []Problem
}

// Types of resources that an object may hold.
var types = []string{
	string(model.EnvoyListener), string(model.RouteConfiguration), string(model.Cluster),
	string(model.ClusterLoadAssignment), string(model.Secret),
}

// Bounds of an object. Envoy and the API server have others.
const mostResources = 1000

// Parse makes of an object what it asks for, or says what is wrong.
func Parse(o Object, w World) Parsed {
	p := &parser{o: o, w: w, out: Parsed{Object: o.Ref}}
	p.decode()
	p.names = newNames(p)
	if o.Generated() {
		p.generated()
	} else {
		p.judge()
	}
	p.services()
	if len(p.out.Problems) > 0 {
		return Parsed{Object: o.Ref, Problems: p.out.Problems, Unresolved: p.out.Unresolved, Warnings: p.out.Warnings}
	}
	p.emit()
	return p.out
}

// parser is one Parse.
type parser struct {
	o         Object
	w         World
	resources []resource
	// unreadable have no message.
	unreadable []resource
	names      *names
	out        Parsed
}

// resource is one of the object's, decoded.
type resource struct {
	index int
	kind  model.ResourceType
	name  string // as written
	m     proto.Message
}

// key is r's within the object.
func (r resource) key() model.ResourceKey { return model.ResourceKey{Type: r.kind, Name: r.name} }

// field is where r stands.
func (r resource) field() string { return fmt.Sprintf("resources[%d]", r.index) }

// title is what messages call r.
func (r resource) title() string {
	return clip(strings.TrimSpace(string(r.kind[strings.LastIndexByte(string(r.kind), '.')+1:]) + " " + r.name))
}

func (p *parser) say(reason, field, format string, args ...any) {
	p.out.Problems = append(p.out.Problems, Problem{Reason: reason, Field: field, Message: fmt.Sprintf(format, args...)})
}

// broken says what is wrong with a resource.
func (p *parser) broken(r resource, at, message string) {
	p.out.Problems = append(p.out.Problems, Problem{Reason: ReasonInvalid, Field: r.field(), Resource: r.title(), At: at, Message: message})
}

// decode reads the resources.
func (p *parser) decode() {
	given := p.o.Spec.Resources
	if len(given) > mostResources {
		p.say(ReasonInvalid, "resources", "has %d entries, at most %d are read", len(given), mostResources)
		given = nil
	}
	for i, text := range given {
		m, problems := strict.Decode(text.JSON, types)
		if m == nil {
			r := unreadable(text.JSON)
			r.index = i
			for _, problem := range problems {
				p.broken(r, problem.At, problem.Message)
			}
			p.unreadable = append(p.unreadable, r)
			continue
		}
		r := resource{i, model.ResourceType(m.ProtoReflect().Descriptor().FullName()), nameOf(m), m}
		if r.name == "" {
			p.broken(r, "", "has no name")
		}
		p.resources = append(p.resources, r)
	}
}

// nameOf is the name of a resource.
func nameOf(m proto.Message) string {
	switch m := m.(type) {
	case *listenerv3.Listener:
		return m.Name
	case *routev3.RouteConfiguration:
		return m.Name
	case *clusterv3.Cluster:
		return m.Name
	case *endpointv3.ClusterLoadAssignment:
		return m.ClusterName
	case *tlsv3.Secret:
		return m.Name
	}
	panic(fmt.Sprintf("envoyconfig: %T is no resource", m))
}

// generated takes what the operator made as it is.
func (p *parser) generated() {
	for _, r := range p.resources {
		c, ok := r.m.(*clusterv3.Cluster)
		if name := c.GetEdsClusterConfig().GetServiceName(); ok && name != "" {
			p.names.endpoints(name)
		}
	}
}

// judge looks at what the resources mean and reach, and gives names their
// final form.
func (p *parser) judge() {
	walk := &allow.Walk{Author: p.o.author(p.w), Name: p.names.final, Connect: p.connect}
	for _, r := range p.resources {
		c := &check{parser: p, resource: r}
		walk.Visit, walk.Problems, p.names.reading = c.visit, nil, r.key()
		walk.Resource(r.m)
		for _, problem := range walk.Problems {
			reason := ReasonRefused
			switch problem.Reason {
			case "":
				reason = ReasonInvalid
			case "grant":
				reason = ReasonRefNotPermitted
			}
			p.out.Problems = append(p.out.Problems, Problem{Reason: reason, Field: r.field(), Resource: r.title(), At: problem.At, Message: problem.Message})
		}
	}
	p.cycles()
}

// emit gives the resources their form for Envoy.
func (p *parser) emit() {
	owners := []model.Ref{p.o.Ref}
	keeps := p.o.keepsSource(slices.ContainsFunc(p.resources, redirectable))
	for _, r := range p.resources {
		body, err := proto.MarshalOptions{Deterministic: true}.Marshal(r.m)
		if err != nil {
			p.broken(r, "", err.Error())
			continue
		}
		name := nameOf(r.m)
		if r.kind == model.RouteConfiguration {
			p.out.Fragments = append(p.out.Fragments, model.RouteFragment{Table: name, Part: p.o.Ref.Name.Name, Body: body, Owner: p.o.Ref})
			continue
		}
		p.out.Resources = append(p.out.Resources, model.ProxyResource{
			Resource:   model.Resource{ResourceKey: model.ResourceKey{Type: r.kind, Name: name}, Body: body, Owners: owners},
			KeepSource: keeps, Generated: p.o.Generated(),
		})
	}
	p.out.Assignments = p.names.assignments()
}

// redirectable tells of a listener to which Services can be led.
func redirectable(r resource) bool {
	l, ok := r.m.(*listenerv3.Listener)
	return ok && l.Address == nil && l.GetInternalListener() == nil
}
