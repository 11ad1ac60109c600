package gateway

import "regexp/syntax"

// Bounds of a regular expression. Envoy compiles it with RE2, whose syntax is
// that of package regexp, and runs it on every request that comes so far.
const (
	maxRegexLength = 1024
	// maxRegexSize bounds the compiled program, in instructions of RE2's as
	// regexSize estimates them.
	maxRegexSize = 5000
)

// checkRegex refuses what RE2 would refuse or what would cost too much.
func (r *ruleReader) checkRegex(expression string, path field) {
	if expression == "" || len(expression) > maxRegexLength {
		r.refuse(path, "the regular expression is %d bytes long; use 1 to %d", len(expression), maxRegexLength)
		return
	}
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		r.refuse(path, "%s is not a regular expression of RE2's: %s", quoted(expression), quoted(err.Error()))
		return
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		r.refuse(path, "%s does not compile: %s", quoted(expression), quoted(err.Error()))
		return
	}
	if size := regexSize(program); size > maxRegexSize {
		r.refuse(path, "%s compiles to about %d instructions; use an expression of at most %d, with fewer repetitions",
			quoted(expression), size, maxRegexSize)
	}
}

// regexSize estimates how many instructions RE2 needs, which works on bytes:
// a range outside of ASCII takes several.
func regexSize(program *syntax.Prog) int {
	size := 0
	for _, inst := range program.Inst {
		switch inst.Op {
		case syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			size += 10
		case syntax.InstRune:
			for i := 1; i < len(inst.Rune); i += 2 {
				if inst.Rune[i] < 0x80 {
					size++
				} else {
					size += 4
				}
			}
		default:
			size++
		}
	}
	return size
}
