// Package configworld is what CiliumEnvoyConfigs are judged by, read from
// tables: the Services and ReferenceGrants that there are. The operator, which
// says what is wrong with an object, and the agents, which serve it, judge
// alike because they have the same world.
//
// Every read is on record, so that an object is judged anew when what it was
// judged by changes.
package configworld

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/envoyconfig"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/gateway/field"
	"github.com/waggle-mesh/waggle/internal/model"
)

// World reads from tables.
type World struct {
	services    *flow.Table[model.Object[*corev1.Service]]
	grants      *flow.Index[model.Object[*gatewayv1.ReferenceGrant]] // by namespace
	owned       *flow.Index[model.Object[*corev1.Service]]           // by address
	allowUnsafe bool
}

// New makes a World of the tables. allowUnsafe is envoyConfig.allowUnsafe.
func New(services *flow.Table[model.Object[*corev1.Service]], grants *flow.Table[model.Object[*gatewayv1.ReferenceGrant]], allowUnsafe bool) *World {
	return &World{
		services: services,
		grants: flow.NewIndex(grants, func(grant model.Object[*gatewayv1.ReferenceGrant]) []string {
			return []string{grant.Name.Namespace}
		}),
		owned:       flow.NewIndex(services, func(s model.Object[*corev1.Service]) []string { return envoyconfig.AddressKeys(s.Value) }),
		allowUnsafe: allowUnsafe,
	}
}

// Read is the world as r reads it.
func (w *World) Read(r *flow.Reader) envoyconfig.World {
	return envoyconfig.World{
		Service: func(name model.Name) *corev1.Service {
			s, _ := flow.Get(r, w.services, name.String())
			return s.Value
		},
		Granted: func(from string, to model.Name) bool {
			referrer := field.Referrer{Group: ciliumv2.GroupVersion.Group, Kind: envoyconfig.Namespaced, Namespace: from}
			return field.Permitted(grants{r, w.grants}, referrer, "Service", to)
		},
		Owns: func(namespace string, a netip.Addr) bool {
			return flow.Count(r, w.owned, envoyconfig.AddressKey(namespace, a)) > 0
		},
		AllowUnsafe: w.allowUnsafe,
	}
}

// grants are the ReferenceGrants as r reads them.
type grants struct {
	r           *flow.Reader
	byNamespace *flow.Index[model.Object[*gatewayv1.ReferenceGrant]]
}

// Grants are those of a namespace.
func (g grants) Grants(namespace string) (out []*gatewayv1.ReferenceGrant) {
	for _, grant := range flow.Select(g.r, g.byNamespace, namespace) {
		out = append(out, grant.Value)
	}
	return out
}
