// Package conformance runs the Gateway API's own conformance suite against the
// cluster that KUBECONFIG names.
package conformance

import (
	"testing"

	"sigs.k8s.io/gateway-api/conformance"
)

func TestConformance(t *testing.T) { conformance.RunConformance(t) }
