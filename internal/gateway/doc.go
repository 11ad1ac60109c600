// Package gateway translates Gateway API objects into model rows and says, in
// the API's own words, what became of each object.
//
//	GatewayClass ─▶ Class ─┐
//	Secret ─▶ Certificate ─┤
//	Gateway ───────────────┴▶ Gateway ─▶ Listeners, Attachments (its own hosts)
//	                             │
//	                             ▼
//	                          Parent ─┐
//	HTTPRoute ────────────────────────┴▶ Route ─▶ Attachments, Backends, Memberships
//	Attachments of one (table, host) ─▶ VirtualHost
//	Gateway, Route and what Envoy answered ─▶ status, conditions
//
// Every function is pure: its result follows from its arguments and from what
// it reads through World. It never fails, logs, waits or asks the clock; a
// user's mistake becomes a condition that names the object and the field.
// Input is expected to have passed the CRDs' validation, and is survived if it
// has not.
//
// It does not serve TLS, TCP or UDP listeners, routes of other kinds, or
// Services as parents. It does not choose addresses and does not write.
package gateway
