package gateway

import (
	"net/netip"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// anyHost is how virtual hosts and tables name "any hostname". Listeners and
// routes that name none have the empty hostname.
const anyHost = "*"

// validHostname tells whether h is a hostname of the Gateway API's: an RFC
// 1123 name in lower case, which may begin with the label "*", and no address.
func validHostname(h string) bool {
	if len(h) == 0 || len(h) > 253 {
		return false
	}
	if _, err := netip.ParseAddr(h); err == nil {
		return false
	}
	return validPreciseHostname(strings.TrimPrefix(h, "*."))
}

// validPreciseHostname is validHostname without wildcard.
func validPreciseHostname(h string) bool {
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

// covers tells whether every host that matches inner matches outer. Both may
// be empty, which any host matches; "*.example.com" matches any number of
// labels before the suffix, but not "example.com".
func covers(outer, inner string) bool {
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

// intersect gives the hostname that just those hosts match which match both a
// and b. There is always one of the two, or none.
func intersect(a, b string) (host string, ok bool) {
	switch {
	case covers(a, b):
		return b, true
	case covers(b, a):
		return a, true
	}
	return "", false
}

// narrower tells whether a is more specific than b, where a host matches
// both: names before wildcards, longer wildcards before shorter ones, and
// those before the empty hostname.
func narrower(a, b string) bool {
	aWild, bWild := strings.HasPrefix(a, "*") || a == "", strings.HasPrefix(b, "*") || b == ""
	if aWild != bWild {
		return bWild
	}
	return len(a) > len(b)
}

// hostOrAny is how a virtual host names a listener's hostname.
func hostOrAny(hostname string) string {
	if hostname == "" {
		return anyHost
	}
	return hostname
}

// lowerHostname is a hostname as it is matched.
func lowerHostname(h gatewayv1.Hostname) string { return strings.ToLower(string(h)) }
