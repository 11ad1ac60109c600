// Package daemon is `waggle agent`: it runs the node's pipeline and ties it to
// the world.
//
//	API server ─kube─▶ agent.NodeGraph ─reconcile─▶ datapath (maps)
//	    ▲                  ▲       └───reconcile──▶ link (routes)
//	    │                  ├─────▶ agent.ProxyGraph ──▶ proxy (xDS) ─▶ Envoy
//	    └─────reconcile────│────────────────────────┐
//	runtime ─────cni───────┘ links         CiliumEndpoints, CiliumIdentities
//
// It promises that of two agents on a node one writes, and the other takes
// over when that ends; that nothing is removed before every feed has synced;
// that a pod starts when its programs are attached and the maps know it; and
// that its end, however sudden, changes nothing on the node.
//
// One goroutine owns the graph. Everything else hands it functions.
package daemon
