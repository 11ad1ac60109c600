package daemon

import (
	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/gateway"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/operator"
)

// Controller is the name by which a GatewayClass is ours.
const Controller = "io.cilium/gateway-controller"

// sources are the feeds that writers look into.
type sources struct {
	services   *kube.Source[*corev1.Service]
	pools      *kube.Source[*ciliumv2.CiliumLoadBalancerIPPool]
	identities *kube.Source[*ciliumv2.CiliumIdentity]
	endpoints  *kube.Source[*ciliumv2.CiliumEndpoint]
}

// connect prepares the feeds and the tables they write to.
func (p *process) connect() (err error) {
	if p.client, err = kube.Connect(p.options.Kube, p.log); err != nil {
		return err
	}
	p.feeds = kube.NewFeeds(p.client, p.log)
	p.in = operator.NewInputs(&p.tables)
	all := kube.Selection{}
	kube.Feed(p.feeds, kube.GatewayClasses, kube.Table[*gatewayv1.GatewayClass](p.in.Classes), all)
	kube.Feed(p.feeds, kube.Gateways, kube.Table[*gatewayv1.Gateway](p.in.Gateways), all)
	kube.Feed(p.feeds, kube.HTTPRoutes, kube.Table[*gatewayv1.HTTPRoute](p.in.HTTPRoutes), all)
	kube.Feed(p.feeds, kube.ReferenceGrants, kube.Table[*gatewayv1.ReferenceGrant](p.in.Grants), all)
	p.sources.services = kube.Feed(p.feeds, kube.Services, kube.Table[*corev1.Service](p.in.Services), all)
	kube.Feed(p.feeds, kube.Secrets, kube.Table[*corev1.Secret](p.in.Secrets), kube.Selection{Fields: kube.CertificateSecrets})
	kube.Feed(p.feeds, kube.Namespaces, kube.Table[*corev1.Namespace](p.in.Namespaces), all)
	p.pools = operator.Objects[*ciliumv2.CiliumLoadBalancerIPPool](&p.tables, "CiliumLoadBalancerIPPool")
	p.sources.pools = kube.Feed(p.feeds, kube.Pools, kube.Table[*ciliumv2.CiliumLoadBalancerIPPool](p.pools), all)
	p.sources.identities = kube.Feed(p.feeds, kube.Identities, kube.NoTable[*ciliumv2.CiliumIdentity]{}, all)
	p.sources.endpoints = kube.Feed(p.feeds, kube.EndpointIdentities, kube.NoTable[*ciliumv2.CiliumEndpoint]{}, all)
	return nil
}

// pipeline makes the graph and ties it to the API server.
func (p *process) pipeline() {
	p.graph = operator.New(&p.tables, p.in, operator.NewAnswers(&p.tables), operator.Settings{
		Stage: gateway.Stage{Controller: Controller},
	})
	if !p.options.LBIPAM {
		return
	}
	addresses := operator.NewLoadBalancer(&p.tables, operator.LoadBalancerInputs{
		Services: p.in.Services, Pools: p.pools, Classless: p.options.DefaultLBServiceIPAM == "lbipam",
	})
	add(p, "addresses of Services", addresses.Assignments, serviceAddresses{p.client, p.sources.services})
	add(p, "statuses of pools", addresses.Uses, poolStatuses{p.client, p.sources.pools})
}
