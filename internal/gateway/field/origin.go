package field

import (
	"strconv"
	"strings"
)

// NormalOrigin is an origin as browsers write it: in lower case, and without
// the port that the scheme implies.
func NormalOrigin(origin string) (normal string, ok bool) {
	if origin == "*" {
		return origin, true
	}
	origin = strings.ToLower(origin)
	scheme, host, ok := strings.Cut(origin, "://")
	if !ok || scheme != "http" && scheme != "https" || len(origin) > 253 {
		return origin, false
	}
	host, port, hasPort := strings.Cut(host, ":")
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return origin, false
		}
		if scheme == "http" && n != 80 || scheme == "https" && n != 443 {
			port = ":" + strconv.FormatUint(n, 10)
		} else {
			port = ""
		}
	}
	if host != "*" && !ValidPreciseHostname(strings.TrimPrefix(host, "*.")) {
		return origin, false
	}
	return scheme + "://" + host + port, true
}
