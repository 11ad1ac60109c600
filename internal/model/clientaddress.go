package model

// ClientAddress says how Gateways know their clients' addresses. Zero: from
// connections; what clients say themselves is not heard.
type ClientAddress struct {
	// TrustedHops are how many proxies before the Gateway are known to append
	// to x-forwarded-for (Envoy's xff_num_trusted_hops).
	TrustedHops uint32
	// Said: from x-forwarded-for as it comes (use_remote_address false).
	Said bool
}
