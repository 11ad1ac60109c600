package operator

import (
	"net/netip"
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/api/cilium.io/v2alpha1"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/gateway"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Address is an input row: where a Gateway answers, or why it does not.
type Address struct {
	Gateway   model.Name
	Addresses []netip.Addr
	Hostnames []string // of a load balancer that has a name in place of an address
	Problem   gateway.Problem
}

// Key is the Gateway's name.
func (a Address) Key() string { return a.Gateway.String() }

// Equal tells whether a and other say the same.
func (a Address) Equal(other Address) bool { return reflect.DeepEqual(a, other) }

// Answers are the inputs that come back from the world.
type Answers struct {
	Addresses *flow.Table[Address]
	// Outcomes are those of listeners and secrets, and all rejections. What
	// is missing counts as pending.
	Outcomes *flow.Table[model.Outcome]
	Refusals *flow.Table[Refusal]
}

// NewAnswers adds empty tables to g.
func NewAnswers(g *flow.Graph) Answers {
	return Answers{
		Addresses: flow.NewTable(g, "addresses", Address.Equal),
		Outcomes:  flow.NewTable(g, "outcomes", flow.DeepEqual[model.Outcome]),
		Refusals:  newRefusals(g),
	}
}

// ClassStatus is what is said of a GatewayClass.
type ClassStatus struct {
	Object     model.Ref
	Status     gatewayv1.GatewayClassStatus
	Conditions []model.Condition
}

// ParametersStatus is what is said of a CiliumGatewayClassConfig.
type ParametersStatus struct {
	Object     model.Ref
	Conditions []metav1.Condition // without times
}

// GatewayStatus is what is said of a Gateway.
type GatewayStatus struct {
	Object     model.Ref
	Ours       bool // else its class is not there, and it may become another's
	Status     gatewayv1.GatewayStatus
	Conditions []model.Condition
}

// RouteStatus is what is said of a route at our Gateways.
type RouteStatus struct {
	Object     model.Ref
	Status     gatewayv1.RouteStatus
	Conditions []model.Condition
}

// Key is the object's.
func (s ClassStatus) Key() string { return s.Object.Key() }

// Key is the object's.
func (s ParametersStatus) Key() string { return s.Object.Key() }

// Key is the object's.
func (s GatewayStatus) Key() string { return s.Object.Key() }

// Key is the object's.
func (s RouteStatus) Key() string { return s.Object.Key() }

// statuses derives what is said of each object. Classes and Gateways of
// others have no row.
func (o *Graph) statuses(g *flow.Graph) {
	refused := flow.NewIndex(o.answers.Refusals, func(x Refusal) []string { return []string{x.For.Key()} })
	o.ClassStatuses = flow.Derive(g, "class statuses", o.Classes, flow.DeepEqual[ClassStatus],
		func(r *flow.Reader, c gateway.Class) []ClassStatus {
			if !c.Ours {
				return nil
			}
			status := o.settings.Stage.ClassStatus(c, func(field string) bool {
				if o.in.RuleFields == nil {
					return true
				}
				_, ok := flow.Get(r, o.in.RuleFields, field)
				return ok
			})
			return []ClassStatus{{
				model.Ref{Kind: "GatewayClass", Name: model.Name{Name: c.Name}}, status, gateway.ClassConditions(c, status),
			}}
		})
	o.ParametersStatuses = flow.Derive(g, "parameters statuses", o.in.Parameters, flow.DeepEqual[ParametersStatus],
		func(_ *flow.Reader, config model.Object[*v2alpha1.CiliumGatewayClassConfig]) []ParametersStatus {
			object := model.Ref{Kind: gateway.ParametersKind, Name: config.Name}
			return []ParametersStatus{{object, []metav1.Condition{gateway.ParametersCondition(config.Value)}}}
		})
	o.GatewayStatuses = flow.Derive(g, "gateway statuses", o.Gateways, flow.DeepEqual[GatewayStatus],
		func(r *flow.Reader, gw gateway.Gateway) []GatewayStatus {
			if gw.Standing == gateway.Foreign {
				return nil
			}
			facts := o.facts(r, gw)
			facts.Refusal = refusedFor(r, refused, gw)
			status := gateway.GatewayStatus(gw, facts)
			return []GatewayStatus{{
				model.Ref{Kind: "Gateway", Name: gw.Name}, gw.Standing == gateway.Ours, status, gateway.GatewayConditions(gw, status),
			}}
		})
	rejected := flow.NewIndex(o.answers.Outcomes, func(outcome model.Outcome) []string {
		if outcome.State != model.Rejected && outcome.State != model.Refused {
			return nil
		}
		var keys []string
		for _, owner := range outcome.Owners {
			keys = append(keys, owner.Key())
		}
		return keys
	})
	o.RouteStatuses = flow.Derive(g, "route statuses", o.Routes, flow.DeepEqual[RouteStatus],
		func(r *flow.Reader, route gateway.Route) []RouteStatus {
			status := o.settings.Stage.RouteStatus(route, flow.Select(r, rejected, route.Object.Key()))
			return []RouteStatus{{route.Object, status, gateway.RouteConditions(route, status)}}
		})
}

// facts are what the world says about a Gateway.
func (o *Graph) facts(r *flow.Reader, gw gateway.Gateway) gateway.GatewayFacts {
	address, _ := flow.Get(r, o.answers.Addresses, gw.Key())
	facts := gateway.GatewayFacts{
		Addresses:      address.Addresses,
		Hostnames:      address.Hostnames,
		AddressProblem: address.Problem,
		PortProblems:   map[uint16]string{},
		Attached: func(listener string) int {
			return flow.Count(r, o.members, gateway.Membership{Gateway: gw.Name, Listener: listener}.Key())
		},
	}
	for _, l := range gw.EnvoyListeners() {
		if taken, ok := flow.Get(r, o.TakenPorts, l.Key()); ok {
			facts.PortProblems[l.Port] = taken.Message
			continue
		}
		facts.Outcomes = append(facts.Outcomes, o.outcome(r, model.EnvoyListener, l.Key()))
	}
	for _, secret := range gw.Certificates() {
		facts.Outcomes = append(facts.Outcomes, o.outcome(r, model.Secret, secret.String()))
	}
	return facts
}

// outcome is what Envoy said of a resource, or will say.
func (o *Graph) outcome(r *flow.Reader, kind model.ResourceType, name string) model.Outcome {
	key := model.ResourceKey{Type: kind, Name: name}
	if outcome, ok := flow.Get(r, o.answers.Outcomes, key.Key()); ok {
		return outcome
	}
	return model.Outcome{ResourceKey: key, State: model.Pending}
}
