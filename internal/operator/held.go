package operator

import (
	corev1 "k8s.io/api/core/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/gateway"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Gateways are held while the settings of their class cannot be used: what was
// made for them stays as it is. As nobody knows any more what it was made of,
// its rows come from the objects themselves, and say no more than that they are
// to be left alone: also to an operator that begins meanwhile.

// hold finds the Gateways that are held.
func (c *Cluster) hold(g *flow.Graph) {
	c.held = flow.Derive(g, "held gateways", c.Gateways, flow.Equal[Owner],
		func(r *flow.Reader, gw gateway.Gateway) []Owner {
			if !gw.Held {
				return nil
			}
			object, _ := flow.Get(r, c.in.Gateways, gw.Key())
			return []Owner{{gw.Name, string(object.Value.UID)}}
		})
}

// heldServices are those of Gateways that are held.
func (c *Cluster) heldServices(g *flow.Graph) *flow.Table[GatewayService] {
	return flow.Derive(g, "held services", c.held, flow.DeepEqual[GatewayService],
		func(r *flow.Reader, o Owner) []GatewayService {
			name := ObjectName(o.Gateway)
			object, ok := flow.Get(r, c.in.Services, name.String())
			if !ok || !o.Owns(object.Value) {
				return nil
			}
			return []GatewayService{{Name: name, Owner: o, Held: true}}
		})
}

// heldConfigs are the CiliumEnvoyConfigs of Gateways that are held.
func (c *Cluster) heldConfigs(g *flow.Graph) *flow.Table[GatewayConfig] {
	byOwner := flow.NewIndex(c.in.Configs, func(o model.Object[*ciliumv2.CiliumEnvoyConfig]) []string {
		if gw, ok := OwnerOf(o.Value); ok {
			return []string{gw.String()}
		}
		return nil
	})
	return flow.Derive(g, "held configs", c.held, flow.DeepEqual[GatewayConfig],
		func(r *flow.Reader, o Owner) (out []GatewayConfig) {
			for _, object := range flow.Select(r, byOwner, o.Key()) {
				out = append(out, GatewayConfig{Name: object.Name, Owner: o, Held: true})
			}
			return out
		})
}

// heldSecrets are all copies of Secrets without a row of their own, while some
// Gateway is held: it may present any.
func (c *Cluster) heldSecrets(g *flow.Graph, made *flow.Table[SecretCopy]) *flow.Table[SecretCopy] {
	some := flow.NewIndex(c.held, func(Owner) []string { return []string{anyKey} })
	return flow.Derive(g, "held secret copies", c.in.Secrets, SecretCopy.Equal,
		func(r *flow.Reader, s model.Object[*corev1.Secret]) []SecretCopy {
			if s.Name.Namespace != c.settings.SecretsNamespace || s.Value.Labels[SecretNamespaceLabel] == "" || flow.Count(r, some, anyKey) == 0 {
				return nil
			}
			if _, wanted := flow.Get(r, made, s.Key()); wanted {
				return nil
			}
			return []SecretCopy{{Name: s.Name, Held: true}}
		})
}
