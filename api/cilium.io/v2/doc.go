// Package v2 has the Go types of the kinds of cilium.io/v2 that Waggle serves,
// with Cilium's names of fields and columns, so that what reads and writes
// such objects works unchanged. Fields that Waggle neither reads nor writes
// are left out; the API server prunes them.
//
// Deep copies and CRDs are generated.
//
// +kubebuilder:object:generate=true
// +groupName=cilium.io
package v2

//go:generate go tool controller-gen object paths=.
//go:generate go tool controller-gen crd paths=. paths=../v2alpha1 output:crd:dir=../../../chart/waggle/files/crds
