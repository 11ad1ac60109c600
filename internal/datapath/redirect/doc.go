// Package redirect leads connections to the node's Envoys, by their sockets:
//
//	Open ──▶ who is there already
//	Start ─▶ pick_listener in the node's network namespace
//	Attach ▶ proxy_listen, proxy_connect on an Envoy's cgroup, with a port base
//	         of its own; listeners that were there before are adopted
//
// Two Envoys live side by side while one replaces the other. Which one gets a
// new connection is one entry of a map (SetActive); where it has no listener
// the kernel takes the other by itself.
//
// Listeners have logical numbers (Numbers). Those of an Envoy are at its base
// plus the number, on the loopback addresses, where nothing but the data path
// leads to.
//
// It uses the maps that package datapath has made, and starts no Envoy.
package redirect
