package gateway

import (
	"fmt"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/gateway/field"
	"github.com/waggle-mesh/waggle/internal/gateway/rule"
	"github.com/waggle-mesh/waggle/internal/model"
)

// attach follows one parentRef.
func (t *translation) attach(ref gatewayv1.ParentReference, path field.Path) {
	out := RouteParent{Ref: ref}
	parent, missing := t.parent(ref, path)
	out.Standing, out.Problem = parent.Standing, missing
	if missing.OK() && parent.Standing == Ours {
		out.Problem = t.attachTo(parent, ref, path)
	}
	t.out.Parents = append(t.out.Parents, out)
}

// parent finds the Gateway that a parentRef names.
func (t *translation) parent(ref gatewayv1.ParentReference, path field.Path) (Parent, Problem) {
	group, kind := field.Or(ref.Group, gatewayv1.GroupName), field.Or(ref.Kind, "Gateway")
	if group != gatewayv1.GroupName || kind != "Gateway" {
		return Parent{}, field.New(gatewayv1.RouteReasonNoMatchingParent,
			"%s: %s of group %s is not served as a parent; use a Gateway", path, field.Quoted(string(kind)), field.Quoted(string(group)))
	}
	name := model.Name{Namespace: string(field.Or(ref.Namespace, gatewayv1.Namespace(t.name.Namespace))), Name: string(ref.Name)}
	parent, ok := t.w.Parent(name)
	switch {
	case !ok:
		return Parent{}, field.New(gatewayv1.RouteReasonNoMatchingParent,
			"%s: Gateway %s does not exist; create it, or correct the name or namespace", path, name)
	case parent.Standing == Unclaimed:
		return parent, field.New(gatewayv1.RouteReasonNoMatchingParent,
			"%s: the GatewayClass of Gateway %s does not exist; create it, or correct the Gateway's spec.gatewayClassName", path, name)
	}
	return parent, Problem{}
}

// attachTo attaches the route to those listeners of a Gateway of ours that
// the parentRef selects, that allow it and that share a host with it, and
// says which of these steps left none.
func (t *translation) attachTo(parent Parent, ref gatewayv1.ParentReference, path field.Path) Problem {
	selected := selectListeners(parent, ref)
	if len(selected) == 0 {
		return field.New(gatewayv1.RouteReasonNoMatchingParent, "%s: Gateway %s has no listener%s; correct sectionName or port",
			path, parent.Name, selection(ref))
	}
	allowing := slices.DeleteFunc(slices.Clone(selected), func(l ParentListener) bool {
		return !l.allows(t.w, parent.Name, t.name.Namespace)
	})
	if len(allowing) == 0 {
		if !slices.ContainsFunc(selected, func(l ParentListener) bool { return l.Routes }) {
			return field.New(gatewayv1.RouteReasonNotAllowedByListeners,
				"%s: %s of Gateway %s takes no HTTPRoutes, by its protocol or allowedRoutes.kinds; attach to another",
				path, naming(selected), parent.Name)
		}
		return field.New(gatewayv1.RouteReasonNotAllowedByListeners,
			"%s: %s of Gateway %s takes no HTTPRoutes from namespace %s; change its allowedRoutes.namespaces",
			path, naming(selected), parent.Name, t.name.Namespace)
	}
	if len(t.rulesAnswering()) == 0 {
		return t.refusal
	}
	matching := slices.DeleteFunc(slices.Clone(allowing), func(l ParentListener) bool { return len(t.hostsAt(l)) == 0 })
	if len(matching) == 0 {
		return field.New(gatewayv1.RouteReasonNoMatchingListenerHostname,
			"%s: none of spec.hostnames (%s) matches the hostname of %s of Gateway %s; change either",
			path, strings.Join(t.hostnames, ", "), naming(allowing), parent.Name)
	}
	served := slices.DeleteFunc(slices.Clone(matching), func(l ParentListener) bool { return !l.Served })
	if len(served) == 0 {
		return field.New(gatewayv1.RouteReasonNoMatchingParent,
			"%s: %s of Gateway %s is not accepted; see the Gateway's status", path, naming(matching), parent.Name)
	}
	if taken := t.attachToHosts(parent, served); taken != "" {
		return field.New(gatewayv1.RouteReasonNoMatchingListenerHostname,
			"%s: listener %s of Gateway %s is more specific and takes all of spec.hostnames on the port; attach to it",
			path, taken, parent.Name)
	}
	if !t.refusal.OK() {
		return t.refusal
	}
	for _, l := range matching {
		t.out.Memberships = append(t.out.Memberships, Membership{parent.Name, l.Name})
	}
	return Problem{}
}

// attachToHosts attaches the route to every host that is a listener's own.
// If more specific listeners of the port have them all, it names one.
func (t *translation) attachToHosts(parent Parent, listeners []ParentListener) (taken string) {
	attached := false
	for _, l := range listeners {
		var rules []model.Route
		for _, host := range t.hostsAt(l) {
			owner, _ := parent.listener(l.Port, host)
			if owner.Name != l.Name {
				taken = owner.Name
				continue
			}
			attached = true
			a := Attachment{Table: l.table(parent.Name), Host: hostOrAny(host), Route: t.out.Object, Created: t.created}
			if slices.ContainsFunc(t.out.Attachments, func(b Attachment) bool { return a.Table == b.Table && a.Host == b.Host }) {
				continue // by another parentRef
			}
			if rules == nil {
				rules = t.rulesAt(parent, l)
			}
			a.Rules = rules
			t.out.Attachments = append(t.out.Attachments, a)
		}
	}
	if attached {
		return ""
	}
	return taken
}

// hostsAt are the hosts that the route and a listener have in common.
func (t *translation) hostsAt(l ParentListener) []string {
	if len(t.hostnames) == 0 {
		return []string{l.Hostname}
	}
	var out []string
	for _, h := range t.hostnames {
		if host, ok := field.Intersect(l.Hostname, h); ok && !slices.Contains(out, host) {
			out = append(out, host)
		}
	}
	return out
}

// rulesAnswering are the rules that are served: all of an accepted route's.
// Of a route that is not accepted, those remain that have to fail closed.
func (t *translation) rulesAnswering() []rule.Rule {
	if t.refusal.OK() {
		return t.rules
	}
	return slices.DeleteFunc(slices.Clone(t.rules), func(r rule.Rule) bool { return !r.Closed })
}

// rulesAt are the rules as they answer at a listener.
func (t *translation) rulesAt(parent Parent, l ParentListener) []model.Route {
	at := rule.Listener{
		Protocol: l.Protocol,
		BindPort: l.BindPort,
		HTTP:     parent.reachable(80, model.HTTP),
		HTTPS:    parent.reachable(443, model.HTTPS),
	}
	out := []model.Route{}
	for _, r := range t.rulesAnswering() {
		out = append(out, r.At(at)...)
	}
	return out
}

// selectListeners are the listeners that a parentRef's sectionName and port
// select.
func selectListeners(parent Parent, ref gatewayv1.ParentReference) []ParentListener {
	var out []ParentListener
	for _, l := range parent.Listeners {
		bySection := field.Value(ref.SectionName) == "" || string(*ref.SectionName) == l.Name
		if byPort := ref.Port == nil || *ref.Port == int32(l.Port); bySection && byPort {
			out = append(out, l)
		}
	}
	return out
}

// selection says what a parentRef selects by: ` named "a" on port 80`.
func selection(ref gatewayv1.ParentReference) string {
	out := ""
	if name := field.Value(ref.SectionName); name != "" {
		out += " named " + field.Quoted(string(name))
	}
	if ref.Port != nil {
		out += fmt.Sprintf(" on port %d", *ref.Port)
	}
	return out
}

// naming lists listeners: "listener a", "each of listeners a, b".
func naming(listeners []ParentListener) string {
	names := make([]string, len(listeners))
	for i, l := range listeners {
		names[i] = l.Name
	}
	if len(names) == 1 {
		return "listener " + names[0]
	}
	return "each of listeners " + strings.Join(names, ", ")
}
