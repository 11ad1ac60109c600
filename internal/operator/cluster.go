package operator

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	waggle "github.com/waggle-mesh/waggle/api/waggle.io/v1alpha1"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/gateway"
	"github.com/waggle-mesh/waggle/internal/model"
)

// ClusterInputs are the tables that feeds fill in a cluster.
type ClusterInputs struct {
	Inputs
	Nodes      *flow.Table[model.Object[*corev1.Node]]
	EnvoyNodes *flow.Table[model.Object[*waggle.EnvoyNode]]
	Configs    *flow.Table[model.Object[*ciliumv2.CiliumEnvoyConfig]]

	Clusterwide *flow.Table[model.Object[*ciliumv2.CiliumClusterwideEnvoyConfig]]

	Refusals *flow.Table[Refusal]
}

// NewClusterInputs adds empty input tables to g.
func NewClusterInputs(g *flow.Graph) ClusterInputs {
	common := NewInputs(g)
	common.RuleFields = flow.NewTable(g, "fields of rules", flow.Equal[flow.KeyRow])
	return ClusterInputs{
		Inputs:     common,
		Nodes:      Objects[*corev1.Node](g, "Node"),
		EnvoyNodes: Objects[*waggle.EnvoyNode](g, "EnvoyNode"),
		Configs:    Objects[*ciliumv2.CiliumEnvoyConfig](g, "CiliumEnvoyConfig"),

		Clusterwide: Objects[*ciliumv2.CiliumClusterwideEnvoyConfig](g, "CiliumClusterwideEnvoyConfig"),

		Refusals: newRefusals(g),
	}
}

// ClusterSettings are what a cluster's pipeline is told once.
type ClusterSettings struct {
	Settings
	// SecretsNamespace is the one that agents read Secrets in.
	SecretsNamespace string
	// ExternalTrafficPolicy is that of Gateways' Services.
	ExternalTrafficPolicy corev1.ServiceExternalTrafficPolicy
	// Clients says how Gateways know their clients' addresses.
	Clients model.Clients
	// HostNetwork has listeners bound at nodes' addresses; nil: they answer at
	// those of Services.
	HostNetwork *HostNetwork
	// AllowUnsafe is envoyConfig.allowUnsafe.
	AllowUnsafe bool
}

// Cluster is the pipeline of a cluster: Graph, and the objects by which nodes
// and load balancers learn of Gateways.
//
//	Service ────────▶ Addresses ─▶ (Graph)        EnvoyNode, Node ─▶ Outcomes ─▶ (statuses) ◀─ Refusals
//	(Graph) gateways ─────▶ Services ─▶ Slices        CiliumEnvoyConfig ─┘
//	        Listeners ────▶ Configs, the main one of each Gateway, and parts of it
//	        VirtualHosts ─▶ host parts ─▶ Configs, its parts
//	        Certificates ─▶ Secrets
type Cluster struct {
	*Graph
	Services *flow.Table[GatewayService]
	Slices   *flow.Table[GatewaySlice]
	Configs  *flow.Table[GatewayConfig]
	Secrets  *flow.Table[SecretCopy]
	Outcomes *flow.Table[model.Outcome]
	// EnvoyConfigs judges users' CiliumEnvoyConfigs.
	EnvoyConfigs *EnvoyConfigs

	in        ClusterInputs
	settings  ClusterSettings
	addresses *flow.Table[Address]
	owners    *flow.Table[Owner]
	held      *flow.Table[Owner] // Gateways whose objects stay as they are; never in owners
	hostParts *flow.Table[hostPart]
	voices    voices
	hosts     *flow.Index[hostNode]

	listenerConfigs *flow.Table[GatewayConfig] // those in Configs that have listeners
}

// NewCluster adds the pipeline to g, behind its inputs.
func NewCluster(g *flow.Graph, in ClusterInputs, settings ClusterSettings) *Cluster {
	c := &Cluster{in: in, settings: settings}
	c.address(g)
	c.Graph = translate(g, in.Inputs, Answers{Addresses: c.addresses, Refusals: in.Refusals}, settings.Settings)
	c.own(g)
	c.hold(g)
	c.services(g)
	c.slices(g)
	c.configs(g)
	c.secretCopies(g)
	c.acknowledge(g)
	c.answers.Outcomes = c.Outcomes
	c.statuses(g)
	c.EnvoyConfigs = newEnvoyConfigs(g, EnvoyConfigInputs{
		Configs: in.Configs, Clusterwide: in.Clusterwide, Services: in.Services, Grants: in.Grants, AllowUnsafe: settings.AllowUnsafe,
	}, &c.voices)
	return c
}

// Owner is the Gateway that objects are made for.
type Owner struct {
	Gateway model.Name
	UID     string
}

// Key is the Gateway's name.
func (o Owner) Key() string { return o.Gateway.String() }

// Ref names the Gateway.
func (o Owner) Ref() model.Ref { return model.Ref{Kind: "Gateway", Name: o.Gateway} }

// Reference is what objects say of their owner.
func (o Owner) Reference() metav1.OwnerReference {
	yes := true
	return metav1.OwnerReference{
		APIVersion: gatewayv1.GroupVersion.String(), Kind: "Gateway", Name: o.Gateway.Name, UID: types.UID(o.UID), Controller: &yes,
	}
}

// Owns tells whether an object says that the Gateway owns it, or one of the
// same name before it: what was made for that serves this one as well.
func (o Owner) Owns(object metav1.Object) bool {
	name, ok := OwnerOf(object)
	return ok && name == o.Gateway
}

// OwnerOf is the Gateway that an object says it was made for.
func OwnerOf(object metav1.Object) (model.Name, bool) {
	ref := metav1.GetControllerOfNoCopy(object)
	if ref == nil || ref.Kind != "Gateway" || !strings.HasPrefix(ref.APIVersion, gatewayv1.GroupName+"/") {
		return model.Name{}, false
	}
	return model.Name{Namespace: object.GetNamespace(), Name: ref.Name}, true
}

// own finds the Gateways that objects are made for: ours that are accepted,
// where the objects' names are free.
func (c *Cluster) own(g *flow.Graph) {
	c.owners = flow.Derive(g, "owners", c.in.Gateways, flow.Equal[Owner],
		func(r *flow.Reader, object model.Object[*gatewayv1.Gateway]) []Owner {
			gw, ok := flow.Get(r, c.Gateways, object.Key())
			if !ok || gw.Standing != gateway.Ours || !gw.Problem.OK() || !c.foreign(r, object.Name).OK() {
				return nil
			}
			return []Owner{{object.Name, string(object.Value.UID)}}
		})
}
