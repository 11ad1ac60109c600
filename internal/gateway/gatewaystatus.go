package gateway

import (
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/gateway/field"
	"github.com/waggle-mesh/waggle/internal/model"
)

// GatewayFacts are what a Gateway's status depends on besides the Gateway.
type GatewayFacts struct {
	// Addresses are those that the Gateway answers at.
	Addresses []netip.Addr
	// Hostnames are names in place of addresses.
	Hostnames []string
	// AddressProblem says why there is none, or not the one that was asked
	// for: UnsupportedAddress makes the Gateway not accepted,
	// AddressNotUsable and AddressNotAssigned make it not programmed.
	AddressProblem Problem
	// Refusal names an object of the Gateway that the cluster does not have as
	// it should be, and says why. Empty: there is none.
	Refusal string
	// PortProblems say why a port cannot be had, by the Gateway's port.
	PortProblems map[uint16]string
	// Attached counts a listener's Memberships. Nil counts none.
	Attached func(listener string) int
	// Outcomes are those of resources made of the Gateway and of Secrets that
	// it presents, named by the key of their model.Listener or
	// model.Certificate. Those that are Accepted do not matter, and are not
	// missed.
	Outcomes []model.Outcome
}

// addressed tells whether the Gateway answers anywhere.
func (f GatewayFacts) addressed() bool { return len(f.Addresses)+len(f.Hostnames) > 0 }

// maxAddresses is how many a status has room for: of one with more the API server
// would take nothing.
const maxAddresses = 16

// GatewayStatus is the status of a Gateway of ours.
func GatewayStatus(g Gateway, facts GatewayFacts) gatewayv1.GatewayStatus {
	if facts.AddressProblem.Reason == string(gatewayv1.GatewayReasonUnsupportedAddress) && g.Problem.OK() {
		g.Problem = facts.AddressProblem
	}
	var out gatewayv1.GatewayStatus
	ip, hostname := gatewayv1.IPAddressType, gatewayv1.HostnameAddressType
	for _, a := range facts.Addresses {
		out.Addresses = append(out.Addresses, gatewayv1.GatewayStatusAddress{Type: &ip, Value: a.String()})
	}
	for _, name := range facts.Hostnames {
		out.Addresses = append(out.Addresses, gatewayv1.GatewayStatusAddress{Type: &hostname, Value: name})
	}
	out.Addresses = out.Addresses[:min(len(out.Addresses), maxAddresses)]
	states := make([]listenerState, len(g.Listeners))
	out.Listeners = make([]gatewayv1.ListenerStatus, len(g.Listeners))
	for i, l := range g.Listeners {
		states[i] = judge(g, l, facts)
		out.Listeners[i] = listenerStatus(g, l, states[i])
		if facts.Attached != nil {
			out.Listeners[i].AttachedRoutes = int32(facts.Attached(l.Name))
		}
	}
	accepted, bad := g.accepted(states)
	programmed := g.programmed(states, facts, bad)
	out.Conditions = []metav1.Condition{accepted, programmed, g.resolved()}
	return out
}

// listenerState is what a listener's status says of it.
type listenerState struct{ accepted, programmed Problem }

// judge brings a listener and what became of its resources together.
func judge(g Gateway, l Listener, facts GatewayFacts) listenerState {
	state := listenerState{accepted: l.Problem}
	if taken, ok := facts.PortProblems[l.Port]; ok && l.Problem.OK() {
		state.accepted = field.New(gatewayv1.ListenerReasonPortUnavailable, "port %d is not available: %s", l.Port, taken)
	}
	switch {
	case !state.accepted.OK():
		state.programmed = field.New(gatewayv1.ListenerReasonInvalid, "The listener is not accepted")
	case !g.Problem.OK():
		state.programmed = field.New(gatewayv1.ListenerReasonInvalid, "The Gateway is not accepted; see its conditions")
	case !l.Programmable():
		state.programmed = field.New(gatewayv1.ListenerReasonInvalid, "The listener has no certificate to present; see ResolvedRefs")
	case !facts.AddressProblem.OK() || !facts.addressed():
		state.programmed = field.New(gatewayv1.ListenerReasonPending, "The Gateway has no address; see its conditions")
	default:
		state.programmed = answered(outcomesOf(g, l, facts.Outcomes))
	}
	return state
}

// outcomesOf are the outcomes of the resources that a listener is made of.
func outcomesOf(g Gateway, l Listener, outcomes []model.Outcome) []model.Outcome {
	return slices.DeleteFunc(slices.Clone(outcomes), func(o model.Outcome) bool {
		switch o.Type {
		case model.EnvoyListener:
			return o.Name != model.ListenerKey(g.Name, l.Port)
		case model.Secret:
			return !slices.ContainsFunc(l.Certificates, func(secret model.Name) bool { return secret.String() == o.Name })
		}
		return true
	})
}

// answered says what is missing until Envoy uses all of some resources.
func answered(outcomes []model.Outcome) Problem {
	if bad := rejections(outcomes); !bad.OK() {
		return Problem{Reason: string(gatewayv1.ListenerReasonInvalid), Message: bad.Message}
	}
	for _, o := range outcomes {
		if o.State == model.Pending {
			return field.New(gatewayv1.ListenerReasonPending, "Waiting for Envoy")
		}
	}
	return Problem{}
}

// listenerStatus puts a listener's state into the API's form.
func listenerStatus(g Gateway, l Listener, state listenerState) gatewayv1.ListenerStatus {
	conflicted := condition(gatewayv1.ListenerConditionConflicted, gatewayv1.ListenerReasonNoConflicts, "No conflicts", Problem{}, g.Generation)
	if conflicted.Status = metav1.ConditionFalse; !l.Conflict.OK() {
		conflicted = warning(gatewayv1.ListenerConditionConflicted, l.Conflict, g.Generation)
	}
	out := gatewayv1.ListenerStatus{
		Name:           gatewayv1.SectionName(l.Name),
		SupportedKinds: l.Kinds,
		Conditions: []metav1.Condition{
			condition(gatewayv1.ListenerConditionAccepted, gatewayv1.ListenerReasonAccepted,
				"The listener is accepted", state.accepted, g.Generation),
			conflicted,
			condition(gatewayv1.ListenerConditionResolvedRefs, gatewayv1.ListenerReasonResolvedRefs,
				"All references are resolved", l.Unresolved, g.Generation),
			condition(gatewayv1.ListenerConditionProgrammed, gatewayv1.ListenerReasonProgrammed,
				"Envoy serves the listener", state.programmed, g.Generation),
		},
	}
	if !l.Overlap.OK() && state.accepted.OK() {
		out.Conditions = append(out.Conditions, warning(gatewayv1.ListenerConditionOverlappingTLSConfig, l.Overlap, g.Generation))
	}
	return out
}

// accepted is the Gateway's Accepted condition: one listener is enough.
func (g Gateway) accepted(states []listenerState) (c metav1.Condition, bad Problem) {
	var refused, served []string
	for i, s := range states {
		if s.accepted.OK() {
			served = append(served, g.Listeners[i].Name)
		} else {
			refused = append(refused, g.Listeners[i].Name)
		}
	}
	c = condition(gatewayv1.GatewayConditionAccepted, gatewayv1.GatewayReasonAccepted, "The Gateway is accepted", g.Problem, g.Generation)
	switch {
	case !g.Problem.OK():
		return c, g.Problem
	case len(states) == 0:
		bad = field.New(gatewayv1.GatewayReasonListenersNotValid, "spec.listeners: there is none; add one")
	case len(served) == 0:
		bad = field.New(gatewayv1.GatewayReasonListenersNotValid, "No listener is accepted (%s); see their conditions",
			strings.Join(refused, ", "))
	case len(refused) > 0:
		some := field.New(gatewayv1.GatewayReasonListenersNotValid, "Not accepted: %s; accepted: %s; see the listeners' conditions",
			strings.Join(refused, ", "), strings.Join(served, ", "))
		return warning(gatewayv1.GatewayConditionAccepted, some, g.Generation), Problem{}
	default:
		if g.Warning != "" {
			c.Message += "; " + g.Warning
		}
		return c, Problem{}
	}
	return condition(gatewayv1.GatewayConditionAccepted, "", "", bad, g.Generation), bad
}

// programmed is the Gateway's Programmed condition. Listeners that cannot be
// programmed for their own fault do not count while there are others.
func (g Gateway) programmed(states []listenerState, facts GatewayFacts, bad Problem) metav1.Condition {
	var missing []Problem
	served := 0
	for i, s := range states {
		l := g.Listeners[i]
		if s.programmed.OK() {
			served++
		} else if s.accepted.OK() && l.Programmable() {
			missing = append(missing, field.New(s.programmed.Reason, "listener %s: %s", l.Name, s.programmed.Message))
		}
	}
	var why Problem
	switch {
	case !bad.OK():
		why = field.New(gatewayv1.GatewayReasonInvalid, "The Gateway is not accepted")
	case facts.Refusal != "":
		why = field.New(gatewayv1.GatewayReasonNoResources, "%s", facts.Refusal)
	case !facts.AddressProblem.OK():
		why = facts.AddressProblem
	case !facts.addressed():
		why = field.New(gatewayv1.GatewayReasonAddressNotAssigned, "No address is assigned yet")
	case len(missing) > 0:
		why = field.Join(missing)
	case served == 0:
		why = field.New(gatewayv1.GatewayReasonInvalid, "No listener can be served; see the listeners")
	}
	return condition(gatewayv1.GatewayConditionProgrammed, gatewayv1.GatewayReasonProgrammed, "Envoy serves the Gateway", why, g.Generation)
}

// resolved sums up the listeners' ResolvedRefs.
func (g Gateway) resolved() metav1.Condition {
	var unresolved []string
	for _, l := range g.Listeners {
		if !l.Unresolved.OK() {
			unresolved = append(unresolved, l.Name)
		}
	}
	var bad Problem
	if len(unresolved) > 0 {
		bad = field.New(gatewayv1.GatewayReasonListenersNotResolved, "References of listeners are not resolved: %s; see their conditions",
			strings.Join(unresolved, ", "))
	}
	return condition(gatewayv1.GatewayConditionResolvedRefs, gatewayv1.GatewayReasonResolvedRefs, "All references are resolved", bad, g.Generation)
}

// GatewayConditions are a Gateway's conditions for people: those of its
// status, and a word on one whose class does not exist.
func GatewayConditions(g Gateway, status gatewayv1.GatewayStatus) []model.Condition {
	object := model.Ref{Kind: "Gateway", Name: g.Name}
	switch g.Standing {
	case Foreign:
		return nil
	case Unclaimed:
		return []model.Condition{{
			Object: object, Type: string(gatewayv1.GatewayConditionAccepted), Status: string(metav1.ConditionUnknown),
			Reason:  string(gatewayv1.GatewayReasonPending),
			Message: "spec.gatewayClassName: GatewayClass " + field.Quoted(g.Class) + " does not exist; create it, or correct the name",
		}}
	}
	out := flatten(nil, object, "", status.Conditions)
	for _, l := range status.Listeners {
		out = flatten(out, object, "listener "+string(l.Name), l.Conditions)
	}
	return out
}
