// Package v2alpha1 has the Go types of the kinds of cilium.io/v2alpha1 that
// Waggle serves, see package v2.
//
// +kubebuilder:object:generate=true
// +groupName=cilium.io
package v2alpha1

//go:generate go tool controller-gen object paths=.
