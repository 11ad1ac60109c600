package model

import (
	"bytes"
	"fmt"
	"slices"
)

// ResourceType is a type of Envoy resource, by the name of its message.
type ResourceType string

// The types that are served, in the order in which an addition is sent: each
// may refer to those before it.
const (
	Cluster               ResourceType = "envoy.config.cluster.v3.Cluster"
	ClusterLoadAssignment ResourceType = "envoy.config.endpoint.v3.ClusterLoadAssignment"
	Secret                ResourceType = "envoy.extensions.transport_sockets.tls.v3.Secret"
	ExtensionConfig       ResourceType = "envoy.config.core.v3.TypedExtensionConfig"
	RouteConfiguration    ResourceType = "envoy.config.route.v3.RouteConfiguration"
	ScopedRoute           ResourceType = "envoy.config.route.v3.ScopedRouteConfiguration"
	EnvoyListener         ResourceType = "envoy.config.listener.v3.Listener"
)

// TypeURL is the type's name in an Any.
func (t ResourceType) TypeURL() string {
	if url, ok := typeURLs[t]; ok {
		return url
	}
	return typePrefix + string(t)
}

const typePrefix = "type.googleapis.com/"

// typeURLs are made once, as each of many resources holds one.
var typeURLs = map[ResourceType]string{
	Cluster: typePrefix + string(Cluster), ClusterLoadAssignment: typePrefix + string(ClusterLoadAssignment),
	Secret: typePrefix + string(Secret), ExtensionConfig: typePrefix + string(ExtensionConfig),
	RouteConfiguration: typePrefix + string(RouteConfiguration), ScopedRoute: typePrefix + string(ScopedRoute),
	EnvoyListener: typePrefix + string(EnvoyListener),
}

// ResourceKey names a resource.
type ResourceKey struct {
	Type ResourceType
	Name string // as Envoy and its xDS requests have it
}

// Resource is one Envoy resource as it should be.
type Resource struct {
	ResourceKey
	Body []byte // the message, marshalled; equal resources have equal bytes
	// Owners are the objects it was made of, sorted: who must be told if
	// Envoy rejects it.
	Owners []Ref
}

// Equal tells whether r and other are the same version of one resource.
func (r Resource) Equal(other Resource) bool {
	return r.ResourceKey == other.ResourceKey && bytes.Equal(r.Body, other.Body) && slices.Equal(r.Owners, other.Owners)
}

// String leaves out the body, which may hold a private key.
func (r Resource) String() string {
	return fmt.Sprintf("%s %s, %d bytes, of %v", r.Type, r.Name, len(r.Body), r.Owners)
}

// Key is unique among resources.
func (r ResourceKey) Key() string { return Join(string(r.Type), r.Name) }

// OutcomeState is what became of a Resource.
type OutcomeState string

// The states of an Outcome.
const (
	Pending  OutcomeState = "Pending"  // not sent, or not answered
	Accepted OutcomeState = "Accepted" // Envoy uses it
	Rejected OutcomeState = "Rejected" // Envoy keeps the version before it, if there was one
	Refused  OutcomeState = "Refused"  // Envoy has not heard of it: the API server refuses the object that it stands in
)

// Outcome is what Envoy said of a Resource's newest version.
type Outcome struct {
	ResourceKey
	State   OutcomeState
	Message string // Envoy's words, if rejected; the API server's, if refused
	Owners  []Ref  // of the version that was answered
}
