package field

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

// New makes a Problem of any of the API's reason types.
func New[R ~string](reason R, format string, args ...any) Problem {
	return Problem{string(reason), fmt.Sprintf(format, args...)}
}

// Path leads to a field of an object: "spec.rules[0].matches".
type Path string

// Dot is the path of the field of that name below p.
func (p Path) Dot(name string) Path { return p + "." + Path(name) }

// At is the path of an element of the list of that name below p.
func (p Path) At(name string, i int) Path {
	return p + "." + Path(name) + "[" + Path(strconv.Itoa(i)) + "]"
}

// Quoted is a user's value as messages show it: escaped, and cut if long.
func Quoted(value string) string {
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

// Join makes one Problem of several: the first one's reason and what they all
// say. The API bounds a condition's message, so it has the first few and
// counts the rest. Of none it makes none.
func Join(problems []Problem) Problem {
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
	if len(problems) == 0 {
		return Problem{}
	}
	return Problem{problems[0].Reason, b.String()}
}

// Value is *p, or the zero value where there is none.
func Value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// Or is *p, or other where there is none.
func Or[T any](p *T, other T) T {
	if p == nil {
		return other
	}
	return *p
}
