// Package daemon is `waggle operator`: it runs the cluster's pipeline and ties
// it to the API server.
//
//	API server ─kube─▶ operator.Graph ─reconcile─▶ objects (Services, CiliumEnvoyConfigs, …)
//	    ▲                    └─────────reconcile─▶ statuses
//	    └───────────────────────────────────────────┘
//
// Every operator reads and keeps its pipeline up to date; the one that holds
// the Lease writes. So another that takes over has nothing to read first.
//
// It promises that nothing is written, and nothing removed, before every kind
// has been read; that its end, however sudden, changes nothing in the cluster;
// and that one operator has written its last before another begins, as far as
// clocks run at one speed. One that cannot renew the Lease stops writing and
// goes on reading: it writes again when it can, with the Lease still its own.
// If another has had it, the operator begins anew within the process.
//
// One goroutine owns the graph. Everything else hands it functions.
package daemon
