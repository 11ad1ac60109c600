// Package cni is the node's plugin for the kubelet's container runtime: what
// the runtime starts for each pod, and the agent's side of it.
//
//	runtime ──exec, stdin──▶ waggle-cni ──UNIX socket, the pod's namespace──▶ agent
//	                             │                                             │
//	   deletions/ ◀─agent away───┘               address ▶ veth ▶ programs ▶ up
//
// The plugin asks and prints; it knows nothing. The agent's side orders the
// steps and remembers each pod in a file; what the steps are it is told
// (Options). Implements version 1.1 of https://www.cni.dev/docs/spec/.
//
// It promises: no packet of a pod passes before its programs are attached;
// without the agent a pod does not start, and ends all the same; after any
// crash Recover finds the pods that run and takes away everything else.
package cni
