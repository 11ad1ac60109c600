// Command waggle-cni is `waggle cni` by itself: what the container runtime
// starts for each pod. It knows the plugin alone, and so begins in 3 ms where
// the whole of waggle, with all of Envoy's messages, takes 30.
package main

import (
	"os"

	"github.com/waggle-mesh/waggle/internal/cni"
)

func main() { os.Exit(cni.Plugin()) }
