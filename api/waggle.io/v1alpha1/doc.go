// Package v1alpha1 has the Go types of the kinds of waggle.io/v1alpha1: what
// Waggle's parts tell each other through the API server and Cilium has no kind
// for. Nobody else has to write such objects.
//
// Deep copies and CRDs are generated.
//
// +kubebuilder:object:generate=true
// +groupName=waggle.io
package v1alpha1

//go:generate go tool controller-gen object paths=.
//go:generate go tool controller-gen crd paths=. output:crd:dir=../../../chart/waggle/files/crds
