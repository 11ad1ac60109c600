package field

import "testing"

// TestRegexBounds: what passes here passes RE2 with the bound that Envoy is
// told. The sizes in the comments are RE2's own.
func TestRegexBounds(t *testing.T) {
	for expression, want := range map[string]bool{
		"a{990}":                  true,  // 994
		"a{1000}":                 false, // 1004
		"[^/]{100}":               true,  // 804
		".{130}":                  false, // 1044
		"(a|b){300}":              true,  // 904
		`\p{Greek}+`:              true,  // 66
		`\p{Lu}{3}`:               false, // 2374
		`\PL`:                     false, // 1202
		`(?:x?){500}`:             false, // 1004
		`(?:a+b+){160}`:           true,  // 963
		`(?:a+b+){200}`:           false, // 1203
		`(?:\pL{50}){0}(?i){200}`: false,
		`\p{ Lu}`:                 false,
		`\p{Letter}`:              false, // RE2 knows no such name
		`\p{Zl}`:                  true,
		`\p{zl}`:                  false, // nor this one, which package regexp does
		`\pz`:                     false,
		`a\\pz`:                   true, // a backslash, and then letters
		`^/v[0-9]+/[^/]+/$`:       true,
		`(?=a)`:                   false,
		`\1`:                      false,
		`(a`:                      false,
		"\xff":                    false,
		`[[:word:]]+`:             true,
		`(?i)straße`:              false, // Envoy reads bytes
		`[^\x00-\x{10FFFF}]`:      false,
		`\x{100}`:                 false,
		`\x{0000ff}`:              true,
		`\377`:                    true,
		`\400`:                    false,
		`\\400`:                   true, // a backslash, and then digits
	} {
		if why := RegexProblem(expression); (why == "") != want {
			t.Errorf("%q: %s", expression, why)
		}
	}
}
