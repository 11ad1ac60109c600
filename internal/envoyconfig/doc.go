// Package envoyconfig makes of one CiliumEnvoyConfig or
// CiliumClusterwideEnvoyConfig what Envoy and the data path are to do, or says
// what is wrong with it.
//
//	Object ─▶ strict ─▶ references, values ─▶ allow ─┬─▶ Resources   Listener, Cluster, …
//	          (form)    (sense)               (reach)├─▶ Fragments   RouteConfiguration
//	                                                 ├─▶ Assignments endpoints that clusters ask for
//	                                                 └─▶ Claims ─▶ Settle ─▶ ServiceRedirect
//
// It is a stage: pure functions. The agent, the operator and `waggle analyze`
// all call Parse, so that all say the same. An object with a problem has no
// resources at all.
//
// Everything that an object defines gets a name of its own, "namespace/object/
// name", and references find what is in the object alone. Objects of the
// operator's are not judged and their names are final.
package envoyconfig
