// Package field knows the fields of Gateway API objects: the paths that lead
// to them, what may stand in them, and how to say that something is wrong
// with one. The CRDs' validation has looked at most of that before; Envoy is
// stricter in some places, and nobody who gets round the CRDs may harm it.
package field
