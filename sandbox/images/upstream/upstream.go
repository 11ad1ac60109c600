// Package upstream pins, by its go.mod, the programs of others that images are
// made of, and the release of the Gateway API whose definitions "up" installs.
package upstream

import _ "sigs.k8s.io/gateway-api/pkg/consts" // of that module; keeps its version in go.mod
