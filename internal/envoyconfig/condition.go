package envoyconfig

import (
	"github.com/waggle-mesh/waggle/internal/model"
)

// Conditions are those that the object itself decides: Accepted, and
// ResolvedRefs where it is accepted.
func (p Parsed) Conditions() []model.Condition {
	if len(p.Problems) > 0 {
		return []model.Condition{{
			Object: p.Object, Type: "Accepted", Status: "False", Reason: p.worst(), Message: tell(p.Problems),
		}}
	}
	accepted := model.Condition{Object: p.Object, Type: "Accepted", Status: "True", Reason: ReasonAccepted, Message: "valid", Good: true}
	if len(p.Warnings) > 0 {
		accepted.Message = "valid; " + tell(p.Warnings)
	}
	resolved := model.Condition{
		Object: p.Object, Type: "ResolvedRefs", Status: "True", Reason: ReasonResolved, Message: "every Service is there", Good: true,
	}
	if len(p.Unresolved) > 0 {
		resolved.Status, resolved.Reason, resolved.Message, resolved.Good = "False", p.Unresolved[0].Reason, tell(p.Unresolved), false
	}
	return []model.Condition{accepted, resolved}
}

// worst is the reason that stands for all: what is refused comes before what
// is merely wrong.
func (p Parsed) worst() string {
	reason := p.Problems[0].Reason
	for _, problem := range p.Problems {
		if problem.Reason == ReasonRefused {
			return ReasonRefused
		}
	}
	return reason
}

// Conflicts is the condition of an object whose Services' ports others have.
func Conflicts(object model.Ref, problems []Problem) model.Condition {
	return model.Condition{Object: object, Type: "Programmed", Status: "False", Reason: ReasonConflict, Message: tell(problems)}
}
