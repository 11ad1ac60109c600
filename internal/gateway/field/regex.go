package field

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"unicode"
	"unicode/utf8"
)

// Bounds of a regular expression. Envoy compiles it with RE2, whose syntax is
// that of package regexp, and runs it on every request that comes so far.
const (
	maxRegexLength = 1024
	// maxRegexProgram bounds the compiled program, in RE2's instructions.
	// Envoy is told the same bound.
	maxRegexProgram = 1000
)

// class finds the names of Unicode classes in a regular expression.
var class = regexp.MustCompile(`\\[pP]\{\^?(\w+)\}`)

// unknownClass gives the first class that RE2 does not know, though package
// regexp may: it knows general categories by their abbreviation, and scripts.
func unknownClass(expression string) string {
	for _, m := range class.FindAllStringSubmatch(expression, -1) {
		name := m[1]
		category := len(name) <= 2 && name != "Cn" && name != "LC"
		if _, script := unicode.Scripts[name]; !category && !script && name != "Any" {
			return name
		}
	}
	return ""
}

// RegexProblem says why RE2 would refuse a regular expression, or why it would
// cost too much. It is empty if all is well.
func RegexProblem(expression string) string {
	if expression == "" || len(expression) > maxRegexLength {
		return fmt.Sprintf("the regular expression is %d bytes long; use 1 to %d", len(expression), maxRegexLength)
	}
	if name := unknownClass(expression); name != "" {
		return fmt.Sprintf("%s is no regular expression (RE2): no class is named %s; use a general category such as \\p{Lu}",
			Quoted(expression), Quoted(name))
	}
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return fmt.Sprintf("%s is no regular expression (RE2): %s", Quoted(expression), reason(err))
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil { // never, for what could be parsed
		return fmt.Sprintf("%s does not compile", Quoted(expression))
	}
	if size := regexSize(program); size > maxRegexProgram {
		return fmt.Sprintf("%s comes to about %d instructions, of at most %d; use fewer repetitions and smaller classes",
			Quoted(expression), size, maxRegexProgram)
	}
	return ""
}

// reason is what is wrong with an expression and where, without what may not
// stand in a message.
func reason(err error) string {
	var why *syntax.Error
	if !errors.As(err, &why) {
		return "it cannot be parsed"
	}
	return string(why.Code) + ": " + Quoted(why.Expr)
}

// regexSize is at least the size of RE2's program, which works on bytes: a
// range of characters outside of ASCII takes several instructions.
func regexSize(program *syntax.Prog) int {
	const around, anyRune = 4, 8
	size := around
	for _, inst := range program.Inst {
		switch inst.Op {
		case syntax.InstRune1:
			size += utf8.RuneLen(max(inst.Rune[0], 0))
		case syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			size += anyRune
		case syntax.InstRune:
			for i := 0; i+1 < len(inst.Rune); i += 2 {
				size += rangeSize(inst.Rune[i], inst.Rune[i+1])
			}
			if len(inst.Rune) == 1 { // with case folded
				size += 4 * utf8.RuneLen(inst.Rune[0])
			}
		case syntax.InstEmptyWidth:
			size += 3
		default:
			size++
		}
	}
	return size
}

// rangeSize is how many instructions a range of characters takes at most.
func rangeSize(low, high rune) int {
	switch {
	case high < utf8.RuneSelf:
		return 1
	case high == utf8.MaxRune && low <= utf8.RuneSelf:
		return 7
	}
	size := 0
	for _, last := range []rune{0x7f, 0x7ff, 0xffff, utf8.MaxRune} {
		if low > last {
			continue
		}
		// Ranges that do not begin or end with a whole block are split at
		// each byte of the encoding.
		n := utf8.RuneLen(min(last, 0xd7ff|last&^0xffff))
		size += n
		if n > 1 && (low != high) {
			size += 2 * (n - 1) * (n - 1)
		}
		if high <= last {
			break
		}
		low = last + 1
	}
	return size
}
