package gateway

import (
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// anyHost is how virtual hosts and tables name "any hostname". Listeners and
// routes that name none have the empty hostname.
const anyHost = "*"

// hostOrAny is how a virtual host names a listener's hostname.
func hostOrAny(hostname string) string {
	if hostname == "" {
		return anyHost
	}
	return hostname
}

// lowerHostname is a hostname as it is matched.
func lowerHostname(h gatewayv1.Hostname) string { return strings.ToLower(string(h)) }
