package field

import (
	"strings"
	"unicode/utf8"
)

// ValidPathCharacters tells whether RFC 3986 allows all of a path's characters.
func ValidPathCharacters(path string) bool {
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '%':
			if i+2 >= len(path) || !isHex(path[i+1]) || !isHex(path[i+2]) {
				return false
			}
		case isAlphanumeric(c), strings.IndexByte("-/._~!$&'()*+,;=:@", c) >= 0:
		default:
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// ValidToken tells whether s is a token of RFC 9110, as the names of headers
// are, of at most 256 bytes.
func ValidToken(s string) bool {
	if s == "" || len(s) > 256 {
		return false
	}
	for i := range len(s) {
		if !isAlphanumeric(s[i]) && strings.IndexByte("!#$%&'*+-.^_`|~", s[i]) < 0 {
			return false
		}
	}
	return true
}

// ValidText tells whether s can stand in a header's value: no control
// character but the tab. What is not ASCII has to be UTF-8.
func ValidText(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return utf8.ValidString(s)
}
