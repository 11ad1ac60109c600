package model

import (
	"bytes"
	"fmt"
	"strconv"
)

// Protocol is what an Envoy listener speaks to its clients.
type Protocol string

// The protocols of the Gateway API's listeners that are served.
const (
	HTTP  Protocol = "HTTP"
	HTTPS Protocol = "HTTPS" // TLS terminated here, HTTP inside
)

// Listener is one port of one Gateway as Envoy serves it: the Gateway's
// accepted listeners that share the port, merged.
type Listener struct {
	Gateway  Name
	Port     uint16 // as the Gateway has it, 1 to 65535
	BindPort uint16 // where it answers: Port, or Port plus an offset
	Protocol Protocol
	// Chains has exactly one entry with no Hostname for HTTP, and one per
	// distinct server name, sorted by Hostname, for HTTPS.
	Chains []Chain
}

// Chain is one filter chain of a Listener.
type Chain struct {
	// Hostname is the TLS server name (SNI) the chain takes, in lower case:
	// "a.example.com", "*.example.com", or empty for any.
	Hostname string
	// Certificates name the Secrets to present, in the Gateway's order.
	// Empty for HTTP.
	Certificates []Name
	// Table is the route table of the chain's requests, see TableKey.
	Table string
}

// Key is unique per Gateway and port.
func (l Listener) Key() string { return ListenerKey(l.Gateway, l.Port) }

// ListenerKey is the key of the Listener of a Gateway's port.
func ListenerKey(gateway Name, port uint16) string {
	return Join(gateway.Namespace, gateway.Name, strconv.Itoa(int(port)))
}

// TableKey names the route table of a Gateway's port (hostname empty, HTTP)
// or of one filter chain on it (HTTPS, where "*" stands for any server name).
// No two ports and no two chains share a table.
func TableKey(gateway Name, port uint16, hostname string) string {
	return Join(ListenerKey(gateway, port), hostname)
}

// Certificate is a TLS server certificate with its key, both PEM, as they
// stood in a Secret of type kubernetes.io/tls.
type Certificate struct {
	Secret     Name
	Chain      []byte // leaf first
	PrivateKey []byte
}

// Key is the Secret's name.
func (c Certificate) Key() string { return c.Secret.String() }

// Equal tells whether c and other are the same.
func (c Certificate) Equal(other Certificate) bool {
	return c.Secret == other.Secret && bytes.Equal(c.Chain, other.Chain) && bytes.Equal(c.PrivateKey, other.PrivateKey)
}

// String leaves out the private key, so that no log and no dump shows it.
func (c Certificate) String() string {
	return fmt.Sprintf("certificate of Secret %s, %d bytes", c.Secret, len(c.Chain))
}
