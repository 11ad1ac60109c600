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
// clocks run at one speed.
//
// One goroutine owns the graph. Everything else hands it functions.
package daemon
