package model

// Clients says how Gateways treat their clients. Zero: a client's address is
// that of its connection, and what it says itself is not heard; with TLS, HTTP/2
// is offered.
type Clients struct {
	// TrustedHops are how many proxies before the Gateway are known to append
	// to x-forwarded-for (Envoy's xff_num_trusted_hops).
	TrustedHops uint32
	// Said: from x-forwarded-for as it comes (use_remote_address false).
	Said bool
	// ProxyProtocol: each connection begins with a header of the PROXY protocol
	// that says whose it is; one without is closed.
	ProxyProtocol bool
	// NoALPN: with TLS no protocol is offered, and HTTP/1.1 spoken.
	NoALPN bool
}
