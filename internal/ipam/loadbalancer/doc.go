// Package loadbalancer gives the Services of a cluster that are of type
// LoadBalancer their addresses, from CiliumLoadBalancerIPPools.
//
//	CiliumLoadBalancerIPPool ─▶ Pool ────┐
//	                                     ├─▶ Allocate ─▶ Assignment, PoolUse
//	Service ─▶ Request ──────────────────┘
//
// An address stays with the Service whose status names it, as long as the
// Service may have it; then those that ask for an address by name are served,
// then the others, the oldest first. Services with one sharing key have one
// address as long as their ports differ.
//
// Allocate is a pure function of everything: its result depends neither on
// the order of what it is given nor on what it said before. All that it
// remembers stands in the Services' status.
package loadbalancer
