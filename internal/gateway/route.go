package gateway

import (
	"reflect"
	"slices"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/gateway/field"
	"github.com/waggle-mesh/waggle/internal/gateway/rule"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Route is what became of an HTTPRoute.
type Route struct {
	Object     model.Ref
	Generation int64
	// Parents stand in the order of spec.parentRefs.
	Parents []RouteParent
	// Unresolved says which references lead nowhere, Partial which rules are
	// left out while others are served.
	Unresolved, Partial Problem
	// Attachments are sorted, at most one per table and host.
	Attachments []Attachment
	// Backends are what the attached rules send requests or copies of them
	// to, sorted, without duplicates.
	Backends []model.Backend
	// Memberships are the listeners that count the route, sorted.
	Memberships []Membership
}

// RouteParent is what became of one parentRef.
type RouteParent struct {
	Ref gatewayv1.ParentReference
	// Standing is Ours where the status has a word on the parent.
	Standing Standing
	// Problem says why the route is not accepted.
	Problem Problem
}

// Membership says that a listener's attachedRoutes counts a route.
type Membership struct {
	Gateway  model.Name
	Listener string
}

// Key is unique per Gateway and listener.
func (m Membership) Key() string {
	return model.Join(m.Gateway.Namespace, m.Gateway.Name, m.Listener)
}

// Key is the route's kind and name.
func (r Route) Key() string { return r.Object.Key() }

// Equal tells whether r and other say the same.
func (r Route) Equal(other Route) bool { return reflect.DeepEqual(r, other) }

// Attachment is what one object puts into one virtual host.
type Attachment struct {
	Table string // see model.TableKey
	Host  string // see model.VirtualHost
	// Route is zero for what a listener puts there itself.
	Route model.Ref
	// Created is the route's creationTimestamp: the oldest goes first.
	Created time.Time
	Rules   []model.Route
	// Misdirected: see model.VirtualHost.
	Misdirected bool
}

// Key is unique per table, host and object.
func (a Attachment) Key() string { return model.Join(a.VirtualHostKey(), a.Route.Key()) }

// VirtualHostKey is the key of the model.VirtualHost that a belongs to.
func (a Attachment) VirtualHostKey() string { return model.Join(a.Table, a.Host) }

// Equal tells whether a and other say the same.
func (a Attachment) Equal(other Attachment) bool { return reflect.DeepEqual(a, other) }

// How many of each the API allows. A status has no room for more parents.
const maxRules, maxHostnames, maxParents = 16, 16, 32

// HTTPRoute judges an HTTPRoute and attaches it to its parents' listeners.
func (s Stage) HTTPRoute(w World, route *gatewayv1.HTTPRoute) Route {
	if s.IgnoreAppProtocol {
		w = plain{w}
	}
	t := &translation{
		w:         w,
		name:      model.Name{Namespace: route.Namespace, Name: route.Name},
		created:   route.CreationTimestamp.UTC(),
		hostnames: hostnames(route),
	}
	t.out = Route{Object: model.Ref{Kind: "HTTPRoute", Name: t.name}, Generation: route.Generation}
	t.readRules(route)
	t.readHostnames(route)
	for i := range min(len(route.Spec.ParentRefs), maxParents) {
		t.attach(route.Spec.ParentRefs[i], field.Path("spec").At("parentRefs", i))
	}
	t.finish()
	return t.out
}

// translation is the work on one route.
type translation struct {
	w         World
	name      model.Name
	created   time.Time
	hostnames []string // in lower case, without duplicates; nil stands for any

	rules []rule.Rule
	// refusal is the problem that keeps the route from being accepted
	// anywhere.
	refusal Problem
	out     Route
}

// readRules translates the rules. A route is accepted if one rule at least is
// as it should be, unless a value stands somewhere that the API does not know.
func (t *translation) readRules(route *gatewayv1.HTTPRoute) {
	specs := route.Spec.Rules
	switch n := len(specs); {
	case n == 0: // the CRD's default
		specs = make([]gatewayv1.HTTPRouteRule, 1)
	case n > maxRules:
		t.refusal = field.New(gatewayv1.RouteReasonUnsupportedValue, "spec.rules: there are %d; use at most %d", n, maxRules)
		return
	}
	var invalid, unresolved []Problem
	valid, unknown := 0, false
	for i := range specs {
		r := rule.Read(t.w, t.out.Object, specs, i)
		unresolved = append(unresolved, r.Unresolved...)
		unknown = unknown || r.Unknown
		if len(r.Invalid) == 0 {
			valid++
		}
		invalid = append(invalid, r.Invalid...)
		t.rules = append(t.rules, r)
	}
	t.out.Unresolved = field.Join(unresolved)
	switch {
	case len(invalid) == 0:
	case valid == 0 || unknown:
		t.refusal = field.Join(invalid)
	default:
		t.out.Partial = field.New(gatewayv1.RouteReasonUnsupportedValue,
			"Dropped Rule, whose requests answer 500: %s", field.Join(invalid).Message)
	}
}

// hostnames are the route's, as they are matched.
func hostnames(route *gatewayv1.HTTPRoute) []string {
	var out []string
	for _, h := range route.Spec.Hostnames[:min(len(route.Spec.Hostnames), maxHostnames)] {
		if lower := lowerHostname(h); !slices.Contains(out, lower) {
			out = append(out, lower)
		}
	}
	return out
}

// readHostnames refuses the route for a hostname that is none.
func (t *translation) readHostnames(route *gatewayv1.HTTPRoute) {
	if n := len(route.Spec.Hostnames); n > maxHostnames {
		t.rules = nil
		t.refusal = field.New(gatewayv1.RouteReasonUnsupportedValue, "spec.hostnames: there are %d; use at most %d", n, maxHostnames)
		return
	}
	for i, h := range route.Spec.Hostnames {
		if !field.ValidHostname(lowerHostname(h)) {
			t.rules = nil
			t.refusal = field.New(gatewayv1.RouteReasonUnsupportedValue,
				"%s: %s is not a host name; use a DNS name, or one that begins with \"*.\"",
				field.Path("spec").At("hostnames", i), field.Quoted(string(h)))
			return
		}
	}
}

// finish puts the row into its canonical order.
func (t *translation) finish() {
	out := &t.out
	slices.SortFunc(out.Attachments, func(a, b Attachment) int { return compareStrings(a.Table, b.Table, a.Host, b.Host) })
	slices.SortFunc(out.Memberships, func(a, b Membership) int {
		return compareStrings(a.Gateway.String(), b.Gateway.String(), a.Listener, b.Listener)
	})
	out.Memberships = slices.Compact(out.Memberships)
	if len(out.Attachments) > 0 {
		for _, r := range t.rulesAnswering() {
			out.Backends = append(out.Backends, r.Backends()...)
		}
		slices.SortFunc(out.Backends, func(a, b model.Backend) int { return compareStrings(a.Key(), b.Key()) })
		out.Backends = slices.Compact(out.Backends)
	}
}
