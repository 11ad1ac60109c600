package manifest

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/waggle-mesh/waggle/internal/model"
)

// Severity says how bad a Problem is.
type Severity string

// Severities of a Problem.
const (
	Error  Severity = "error"  // something in the file is not served
	Notice Severity = "notice" // for the user to know; nothing is wrong
)

// A Problem is one thing that a user should know about a file.
type Problem struct {
	File string // as it was found below the paths given to Load
	Line int    // from 1; 0 where the file as a whole is meant
	// Object is what the line belongs to; zero where that cannot be told.
	Object model.Ref
	// Field is the path of the field in the object, "spec.rules[0].matches".
	// Empty where the object as a whole is meant.
	Field    string
	Message  string
	Severity Severity
	// Stale tells that an earlier version of the object, or of all objects of
	// the file, goes on being served.
	Stale bool
}

// String gives "file:line: Kind namespace/name: field: message", without the
// parts that are unknown.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	b.WriteString(": ")
	if p.Severity == Notice {
		b.WriteString("notice: ")
	}
	if p.Object.Kind != "" {
		b.WriteString(strings.TrimSpace(p.Object.String()) + ": ")
	}
	if p.Field != "" {
		b.WriteString(p.Field + ": ")
	}
	b.WriteString(p.Message)
	if p.Stale {
		b.WriteString(" (the version before goes on serving)")
	}
	return b.String()
}

// Compare orders problems by place, then by what they say.
func (p Problem) Compare(other Problem) int {
	return cmp.Or(
		cmp.Compare(p.File, other.File),
		cmp.Compare(p.Line, other.Line),
		p.Object.Compare(other.Object),
		cmp.Compare(p.Field, other.Field),
		cmp.Compare(p.Message, other.Message),
	)
}

// maxMessage bounds a Problem's message in bytes: it may quote what the file
// says, which has no bound.
const maxMessage = 400

// clip shortens s to about limit bytes.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
