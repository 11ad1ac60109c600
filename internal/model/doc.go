// Package model is the vocabulary between what users write and what Envoy
// and the kernel are told: plain structs that stages hand to each other.
//
//	Gateway API ─▶ Listener, VirtualHost, Backend, … ─▶ Envoy resources
//
// It knows no Kubernetes type, no protobuf and no kernel call, and imports
// the standard library alone. Values are data: nobody changes one after it
// has been put into a table. Every type that is a row of a table has a Key
// that is unique among its kind; the parts of a key are joined with '|',
// which no Kubernetes name can hold.
package model
