// Package xds tells Envoy its configuration: a delta ADS server over a UNIX
// socket.
//
//	graph ──Update──▶ Server ──one stream per Envoy──▶ Envoy
//	graph ◀─Outcomes─ Server ◀──── ACK or NACK ─────── Envoy
//
// It promises that Envoy is never told to use what it does not have yet
// (clusters before routes before listeners, each acknowledged, and the other
// way round when things go), that no wait for an acknowledgement takes longer
// than two seconds, that one rejected resource holds up no other, and that an
// Envoy which reconnects is sent what has changed and nothing else.
//
// Every stream compares what its Envoy holds with what is desired; nothing is
// queued. So a slow Envoy costs no memory, delays nobody, and gets the newest
// state when it reads again.
//
// It does not look into resources beyond what order demands, and it does not
// validate: who renders a resource does. A resource that Envoy subscribes to
// by name (ClusterLoadAssignment, Secret, ExtensionConfig,
// RouteConfiguration) is never taken from an Envoy that still asks for it,
// because draining listeners do; to empty a cluster, send it an empty
// ClusterLoadAssignment.
package xds
