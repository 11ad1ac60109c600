package envoyconfig

import (
	"fmt"
	"strings"
)

// Reasons of conditions.
const (
	ReasonAccepted        = "Accepted"
	ReasonInvalid         = "Invalid"         // it cannot be read, or makes no sense
	ReasonRefused         = "Refused"         // it may not reach what it reaches for
	ReasonConflict        = "Conflict"        // an older object has the Service's port
	ReasonServiceNotFound = "ServiceNotFound" // or its port
	ReasonRefNotPermitted = "RefNotPermitted" // a Service of another namespace, without a ReferenceGrant
	ReasonResolved        = "ResolvedRefs"
)

// Problem is one thing that is wrong with an object, or that its author should
// know.
type Problem struct {
	Reason string
	// Field is the object's: "resources[1]", "services[0].listener".
	Field string
	// Resource is its type and name, "RouteConfiguration lb_route"; empty
	// where Field is no resource.
	Resource string
	At       string // the path in the resource
	Message  string
}

// String gives "resources[1] RouteConfiguration lb_route: virtual_hosts[0].name:
// message".
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Field)
	if p.Resource != "" {
		b.WriteString(" " + p.Resource)
	}
	b.WriteString(": ")
	if p.At != "" {
		b.WriteString(p.At + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Bounds of a condition's message.
const (
	mostTold    = 8
	longestTold = 600 // bytes of one problem
)

// tell joins problems to a message.
func tell(problems []Problem) string {
	var all []string
	for i, p := range problems {
		if i == mostTold {
			all = append(all, fmt.Sprintf("and %d more", len(problems)-i))
			break
		}
		text := p.String()
		if len(text) > longestTold {
			text = strings.ToValidUTF8(text[:longestTold], "") + "…"
		}
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}
