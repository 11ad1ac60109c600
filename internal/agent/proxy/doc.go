// Package proxy is what an agent does for the Envoys of its node:
//
//	Envoy connects ─▶ programs on its cgroup ─▶ resources ─▶ its listeners' sockets
//	                                                │             │
//	listeners' names ─▶ numbers k ─▶ ports base + k ┘             └─▶ Alive
//
// It promises that an Envoy is told nothing before connections can be led to
// it; that one replaces another without a connection being refused, however
// often the agent ends meanwhile; and that a listener keeps its number for as
// long as it is wanted.
//
// It starts and ends no Envoy, and does not know what the resources are for.
package proxy
