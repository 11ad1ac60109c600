package gateway

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Problem is a reason of the Gateway API's and a message for people. The zero
// Problem stands for none.
type Problem struct{ Reason, Message string }

// OK tells whether there is no problem.
func (p Problem) OK() bool { return p.Reason == "" }

// problem makes a Problem of any of the API's reason types.
func problem[R ~string](reason R, format string, args ...any) Problem {
	return Problem{string(reason), fmt.Sprintf(format, args...)}
}

// field is the path of a field in an object: "spec.rules[0].matches".
type field string

func (f field) dot(name string) field { return f + "." + field(name) }

func (f field) at(name string, i int) field {
	return f + "." + field(name) + "[" + field(strconv.Itoa(i)) + "]"
}

// quoted is a user's value as messages show it: escaped, and cut if long.
func quoted(value string) string {
	const most = 80
	if len(value) <= most {
		return strconv.Quote(value)
	}
	cut := most
	for cut > most-utf8.UTFMax && !utf8.RuneStart(value[cut]) {
		cut--
	}
	return strconv.Quote(value[:cut]) + "…"
}

// messages joins what several problems say. The API bounds a condition's
// message, so it names the first few and counts the rest.
func messages(problems []Problem) string {
	const most = 8
	var b strings.Builder
	for i, p := range problems {
		if i == most {
			fmt.Fprintf(&b, "; and %d more", len(problems)-most)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(p.Message)
	}
	return b.String()
}

// deref is *p, or the zero value where there is none.
func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// derefOr is *p, or other where there is none.
func derefOr[T any](p *T, other T) T {
	if p == nil {
		return other
	}
	return *p
}
