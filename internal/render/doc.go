// Package render says in Envoy's words what the model says in ours: one
// function per kind of row, each pure, each giving whole Envoy resources.
//
//	Listener ───────▶ Listener, with its connection manager
//	VirtualHost ────▶ Host ─┬─▶ RouteConfiguration  (a table of few hosts)
//	                        └─▶ ScopedHost          (one of a table of many)
//	Backend ────────▶ Cluster
//	Endpoints ──────▶ LoadAssignment
//	Certificate ────▶ Certificate
//	                  Bootstrap, which is about no row
//
// It promises that equal rows give equal bytes, that every resource is valid
// by Envoy's own field rules if the row keeps the model's promises, and that
// what a user wrote is never read by Envoy as an operator. It decides every
// Envoy setting that no user can reach, and says why beside each.
//
// It does not decide which route answers (the order of the rows does), does
// not send anything, and does not judge what a user wrote.
package render
