// Package ipam gives a node's pods their addresses, of its PodCIDRs.
//
//	10.0.1.0/24   .0 network   .1 router   .2 ingress   .3 … .254 pods   .255 broadcast
//	fd00:1::/64   ::0 anycast  ::1 router  ::2 ingress  ::3 … pods
//
// Router and ingress address are of the first range of each family. A pod gets
// one address of each family. Addresses that nobody had yet come first, then
// those that were released longest ago: what still goes to a pod that has
// ended does not reach another one.
//
// It promises that no address has two owners. It remembers nothing by itself:
// its owner tells it at start who has what (Hold, Rest).
package ipam
