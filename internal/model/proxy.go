package model

import (
	"fmt"
	"strings"
)

// ServiceRedirect leads ports of a Service to an Envoy listener in place of its
// backends.
type ServiceRedirect struct {
	Service  Name
	Ports    []uint16 // the Service's, sorted; empty: all
	Listener string   // the EnvoyListener's name
	// Alone: the Service has no backends of its own. While the listener is
	// not live it is rejected; others keep their backends until it is.
	Alone bool
	Owner Ref // who asks for it
}

// Key is unique per owner, Service and listener.
func (r ServiceRedirect) Key() string {
	return Join(r.Owner.Key(), r.Service.Namespace, r.Service.Name, r.Listener, strings.Trim(fmt.Sprint(r.Ports), "[]"))
}

// ProxyResource is an EnvoyListener or a Cluster that does not know the node
// yet: its addresses, its sockets' marks and its source are the agent's to
// add. Of other types it is as Envoy gets it.
type ProxyResource struct {
	Resource
	// KeepSource: Envoy connects to backends from the client's address, else
	// from the node's ingress address. One for all resources of an object.
	KeepSource bool
	// Generated: the operator has made it. Its route tables are made of
	// fragments.
	Generated bool
}

// Equal tells whether r and other are the same version of one resource.
func (r ProxyResource) Equal(other ProxyResource) bool {
	return r.KeepSource == other.KeepSource && r.Generated == other.Generated && r.Resource.Equal(other.Resource)
}

// RouteFragment is a part of a route table: a RouteConfiguration whose virtual
// hosts, with those of all others of the same table, make the table.
type RouteFragment struct {
	Table string // the RouteConfiguration's name
	Part  string // of what it was made; unique in its table
	Body  []byte // the RouteConfiguration, marshalled
	Owner Ref
}

// Key is unique per table and part.
func (f RouteFragment) Key() string { return Join(f.Table, f.Part) }

// Equal tells whether f and other are the same version of one fragment.
func (f RouteFragment) Equal(other RouteFragment) bool {
	return f.Table == other.Table && f.Part == other.Part && string(f.Body) == string(other.Body) && f.Owner == other.Owner
}

// Assignment asks for a ClusterLoadAssignment: the endpoints behind a Service,
// under the name by which a Cluster asks for them.
type Assignment struct {
	Name    string // of the ClusterLoadAssignment
	Service Name
	Port    string // of the Service, its number or name; empty: all, together
	Owner   Ref
}

// Key is unique per name and owner.
func (a Assignment) Key() string { return Join(a.Name, a.Owner.Key()) }
