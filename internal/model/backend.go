package model

import (
	"net/netip"
	"slices"
	"strconv"
)

// BackendProtocol is what Waggle speaks to a backend.
type BackendProtocol string

// Backend protocols, from a Service port's appProtocol.
const (
	BackendHTTP1 BackendProtocol = ""   // also kubernetes.io/ws: an upgrade is HTTP/1.1
	BackendH2C   BackendProtocol = "h2" // kubernetes.io/h2c, with prior knowledge
)

// Backend is one port of one Service, spoken to in one way. Envoy has one
// cluster for it, however many routes name it and wherever they stand.
type Backend struct {
	Service  Name
	Port     uint16 // the Service's port, not the pod's
	Protocol BackendProtocol
}

// IsZero tells whether b stands for no backend.
func (b Backend) IsZero() bool { return b == Backend{} }

// Key is unique among Backends.
func (b Backend) Key() string {
	return Join(b.EndpointsKey(), string(b.Protocol))
}

// EndpointsKey is the key of the Endpoints that serve b.
func (b Backend) EndpointsKey() string { return EndpointsKey(b.Service, b.Port) }

// EndpointsKey is the key of the Endpoints of a Service's port.
func EndpointsKey(service Name, port uint16) string {
	return Join(service.Namespace, service.Name, strconv.Itoa(int(port)))
}

// Endpoints are the addresses behind one port of a Service, in order.
type Endpoints struct {
	Service   Name
	Port      uint16
	Addresses []netip.AddrPort // sorted, without duplicates; empty answers 503 at once
}

// Key is unique per Service and port.
func (e Endpoints) Key() string { return EndpointsKey(e.Service, e.Port) }

// Equal tells whether e and other say the same.
func (e Endpoints) Equal(other Endpoints) bool {
	return e.Service == other.Service && e.Port == other.Port && slices.Equal(e.Addresses, other.Addresses)
}
