package field

import (
	"net/netip"
	"strings"
)

// ValidHostname tells whether h is a hostname of the Gateway API's: an RFC
// 1123 name in lower case, which may begin with the label "*", and no address.
func ValidHostname(h string) bool {
	if len(h) == 0 || len(h) > 253 {
		return false
	}
	if _, err := netip.ParseAddr(h); err == nil {
		return false
	}
	return ValidPreciseHostname(strings.TrimPrefix(h, "*."))
}

// ValidPreciseHostname is ValidHostname without wildcard.
func ValidPreciseHostname(h string) bool {
	if len(h) == 0 || len(h) > 253 {
		return false
	}
	for label := range strings.SplitSeq(h, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}

// Covers tells whether every host that matches inner matches outer. Both may
// be empty, which any host matches; "*.example.com" matches any number of
// labels before the suffix, but not "example.com".
func Covers(outer, inner string) bool {
	if outer == "" || outer == inner {
		return true
	}
	suffix, wild := strings.CutPrefix(outer, "*")
	if !wild {
		return false
	}
	inner = strings.TrimPrefix(inner, "*")
	return len(inner) >= len(suffix) && strings.HasSuffix(inner, suffix) && inner != suffix
}

// Intersect gives the hostname that just those hosts match which match both a
// and b. There is always one of the two, or none.
func Intersect(a, b string) (host string, ok bool) {
	switch {
	case Covers(a, b):
		return b, true
	case Covers(b, a):
		return a, true
	}
	return "", false
}

// Narrower tells whether a is more specific than b, where a host matches
// both: names before wildcards, longer wildcards before shorter ones, and
// those before the empty hostname.
func Narrower(a, b string) bool {
	aWild, bWild := strings.HasPrefix(a, "*") || a == "", strings.HasPrefix(b, "*") || b == ""
	if aWild != bWild {
		return bWild
	}
	return len(a) > len(b)
}
