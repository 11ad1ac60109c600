package field

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
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

// class finds escapes; the groups are the names of Unicode classes.
var class = regexp.MustCompile(`(?s)\\(?:[pP](?:\{\^?([^}]*)\}|(.))|.)`)

// category is how a general category is abbreviated.
var category = regexp.MustCompile(`^[A-Z][a-z]?$`)

// unknownClass gives the first class that RE2 does not know, though package
// regexp may: it knows general categories by their abbreviation, and scripts,
// and is particular about capitals.
func unknownClass(expression string) string {
	for _, m := range class.FindAllStringSubmatch(expression, -1) {
		name := m[1] + m[2]
		known := category.MatchString(name) && name != "Cn"
		if _, script := unicode.Scripts[name]; !known && !script && name != "Any" && name != "" {
			return name
		}
	}
	return ""
}

// escape finds escapes; the groups are the hexadecimal and octal ones that may
// stand for more than a byte.
var escape = regexp.MustCompile(`(?s)\\(?:x\{([0-9A-Fa-f]+)\}|([4-7][0-7]{2})|.)`)

// beyondByte gives the first character that is no single byte. Envoy has RE2
// read bytes: it refuses an escape of more than one, and would take a
// character of several for as many that stand beside each other.
func beyondByte(expression string) string {
	for _, r := range expression {
		if r >= utf8.RuneSelf {
			return string(r)
		}
	}
	for _, m := range escape.FindAllStringSubmatch(expression, -1) {
		if _, err := strconv.ParseUint(m[1], 16, 8); m[2] != "" || m[1] != "" && err != nil {
			return m[0]
		}
	}
	return ""
}

// zeroTimes finds repetitions of nothing: RE2 counts what is in them, and
// package regexp does not.
var zeroTimes = regexp.MustCompile(`\{0+(,0+)?\}`)

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
	if nothing := zeroTimes.FindString(expression); nothing != "" {
		return fmt.Sprintf("%s repeats something %s times, where RE2 and others disagree; leave it out", Quoted(expression), Quoted(nothing))
	}
	if character := beyondByte(expression); character != "" {
		return fmt.Sprintf("%s has the character %s, which no request does; write it as it is encoded there",
			Quoted(expression), Quoted(character))
	}
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return fmt.Sprintf("%s is no regular expression (RE2): %s", Quoted(expression), reason(err))
	}
	simple := parsed.Simplify()
	program, err := syntax.Compile(simple)
	if err != nil { // never, for what could be parsed
		return fmt.Sprintf("%s does not compile", Quoted(expression))
	}
	if size := regexSize(program) + repetitions(simple); size > maxRegexProgram {
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

// repetitions counts the x+ in an expression, for which RE2 has an instruction
// more than package regexp.
func repetitions(expression *syntax.Regexp) int {
	n := 0
	if expression.Op == syntax.OpPlus {
		n++
	}
	for _, sub := range expression.Sub {
		n += repetitions(sub)
	}
	return n
}

// regexSize is at least the size of RE2's program, but for repetitions: it
// works on bytes, where a range of characters outside of ASCII takes several
// instructions.
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
