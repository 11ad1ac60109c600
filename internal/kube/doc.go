// Package kube is the door to the API server: objects of Kubernetes into the
// tables of a flow.Graph, rows of such tables into objects.
//
//	API server ──reflector──▶ Feed ──Apply──▶ flow.Table
//	     ▲                                        │
//	     └───────── Writer ◀── reconcile.Loop ◀───┘
//
// A feed is a plain reflector, not an informer: it tries again within a
// second, whatever the API server asks for, so that a restart of it is over
// soon; it drops what the tables never read; and rows need no second cache.
// A custom resource that the API server does not have is switched off, and on
// again when its definition appears. That it is not there is believed after 5 s
// of nothing but 404; of Kubernetes' own kinds never. Until then rows stay.
//
// A Writer sends nothing where an object is already as it should be, knows the
// version that it replaces, and settles conflicts by reading again.
//
// The client limits its own rate in no way: the API server's fairness does.
package kube
