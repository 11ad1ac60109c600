package gateway

import (
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/gateway/field"
	"github.com/waggle-mesh/waggle/internal/model"
)

// judgeConflicts refuses all listeners of a Gateway that are not distinct
// from one another, as the API picks no winner. Listeners that are refused
// for another reason take no part.
func judgeConflicts(listeners []Listener, paths []field.Path) {
	conflicts := make([]Problem, len(listeners))
	for i, a := range listeners {
		for j, b := range listeners {
			if i == j || !a.Problem.OK() || !b.Problem.OK() || a.Port != b.Port || !conflicts[i].OK() {
				continue
			}
			switch {
			case a.Protocol != b.Protocol:
				conflicts[i] = field.New(gatewayv1.ListenerReasonProtocolConflict,
					"%s.protocol: %s and %s (%s) share port %d; use another port", paths[i], a.Protocol, b.Name, b.Protocol, a.Port)
			case a.Hostname == b.Hostname:
				conflicts[i] = field.New(gatewayv1.ListenerReasonHostnameConflict,
					"%s.hostname: listener %s on port %d has the same hostname %s; use another", paths[i], b.Name, a.Port, field.Quoted(a.Hostname))
			}
		}
	}
	for i, p := range conflicts {
		if !p.OK() {
			listeners[i].Conflict, listeners[i].Problem = p, p
		}
	}
}

// judgeOverlaps marks TLS listeners whose hosts another one of the same port
// also matches: a client may reuse one's connection for the other.
func judgeOverlaps(listeners []Listener) {
	for i := range listeners {
		a := &listeners[i]
		if a.Protocol != model.HTTPS || !a.Problem.OK() {
			continue
		}
		var others []string
		for j, b := range listeners {
			if _, ok := field.Intersect(a.Hostname, b.Hostname); i != j && ok && b.Protocol == model.HTTPS && b.Problem.OK() && a.Port == b.Port {
				others = append(others, b.Name)
			}
		}
		if others != nil {
			a.Overlap = field.New(gatewayv1.ListenerReasonOverlappingHostnames,
				"hosts of this listener also match listener %s on port %d; requests that come over the wrong one's connection answer 421",
				strings.Join(others, ", "), a.Port)
		}
	}
}
