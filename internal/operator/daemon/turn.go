package daemon

import (
	"cmp"

	"github.com/waggle-mesh/waggle/internal/operator"
	"github.com/waggle-mesh/waggle/internal/reconcile"
)

// turnOf has namespaces take turns: thousands of objects of one, which a single
// edit may change, keep no other waiting.
func turnOf(namespace string) reconcile.Turn {
	return reconcile.Turn{Tenant: namespace, Place: namespace}
}

// turnOfConfig: those whose routes are at one Gateway take turns, too. The parts
// of a Gateway take the place of each other, whoever's the routes are.
func turnOfConfig(c operator.GatewayConfig) reconcile.Turn {
	gateway := c.Owner.Ref()
	return reconcile.Turn{Tenant: cmp.Or(c.Tenant, gateway.Namespace), Place: gateway.Key()}
}
