package daemon

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/api/cilium.io/v2alpha1"
	waggle "github.com/waggle-mesh/waggle/api/waggle.io/v1alpha1"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/gateway"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/operator"
	"github.com/waggle-mesh/waggle/internal/reconcile"
)

// Controller is the name by which a GatewayClass is ours.
const Controller = "io.cilium/gateway-controller"

// sources are the feeds that writers look into.
type sources struct {
	classes     *kube.Source[*gatewayv1.GatewayClass]
	parameters  *kube.Source[*v2alpha1.CiliumGatewayClassConfig]
	gateways    *kube.Source[*gatewayv1.Gateway]
	routes      *kube.Source[*gatewayv1.HTTPRoute]
	grants      *kube.Source[*gatewayv1.ReferenceGrant]
	secrets     *kube.Source[*corev1.Secret]
	namespaces  *kube.Source[*corev1.Namespace]
	nodes       *kube.Source[*corev1.Node]
	envoyNodes  *kube.Source[*waggle.EnvoyNode]
	services    *kube.Source[*corev1.Service]
	configs     *kube.Source[*ciliumv2.CiliumEnvoyConfig]
	clusterwide *kube.Source[*ciliumv2.CiliumClusterwideEnvoyConfig]
	ownServices *kube.Source[*corev1.Service]
	ownSlices   *kube.Source[*discoveryv1.EndpointSlice]
	ownSecrets  *kube.Source[*corev1.Secret]
	pools       *kube.Source[*ciliumv2.CiliumLoadBalancerIPPool]
	policies    *kube.Source[kube.AnnouncementPolicy]
	identities  *kube.Source[*ciliumv2.CiliumIdentity]
	endpoints   *kube.Source[*ciliumv2.CiliumEndpoint]
	schemas     *kube.Source[*kube.Schema]
}

// connect prepares the feeds and the tables they write to.
func (p *process) connect() (err error) {
	if p.client, err = kube.Connect(p.options.Kube, p.log); err != nil {
		return err
	}
	p.feeds = kube.NewFeeds(p.client, p.log)
	p.in = operator.NewClusterInputs(&p.tables)
	p.pools = operator.Objects[*ciliumv2.CiliumLoadBalancerIPPool](&p.tables, "CiliumLoadBalancerIPPool")
	all, s := kube.Selection{}, &p.sources
	s.services = kube.Feed(p.feeds, kube.Services, kube.Table[*corev1.Service](p.in.Services), all)
	s.nodes = kube.Feed(p.feeds, kube.Nodes, kube.Table[*corev1.Node](p.in.Nodes), all)
	s.identities = kube.Feed(p.feeds, kube.Identities, kube.NoTable[*ciliumv2.CiliumIdentity]{}, all)
	s.endpoints = kube.Feed(p.feeds, kube.EndpointIdentities, kube.NoTable[*ciliumv2.CiliumEndpoint]{}, all)
	if p.options.LBIPAM {
		s.pools = kube.Feed(p.feeds, kube.Pools, kube.Table[*ciliumv2.CiliumLoadBalancerIPPool](p.pools), all)
	}
	if p.options.Announcements {
		p.policies = operator.Objects[kube.AnnouncementPolicy](&p.tables, kube.AnnouncementPolicies.Name())
		s.policies = kube.Feed(p.feeds, kube.AnnouncementPolicies, kube.Table[kube.AnnouncementPolicy](p.policies), all)
	}
	if p.options.GatewayAPI || p.options.EnvoyConfig {
		p.feedEnvoyConfigs()
	}
	if p.options.GatewayAPI {
		p.feedGateways()
	}
	return nil
}

// feedEnvoyConfigs prepares the feeds that only Envoys are of use for.
func (p *process) feedEnvoyConfigs() {
	all, s := kube.Selection{}, &p.sources
	s.envoyNodes = kube.Feed(p.feeds, kube.EnvoyNodes, kube.Table[*waggle.EnvoyNode](p.in.EnvoyNodes), all)
	s.configs = kube.Feed(p.feeds, kube.EnvoyConfigs, kube.Table[*ciliumv2.CiliumEnvoyConfig](p.in.Configs), all)
	s.clusterwide = kube.Feed(p.feeds, kube.ClusterwideEnvoyConfigs, kube.Table[*ciliumv2.CiliumClusterwideEnvoyConfig](p.in.Clusterwide), all)
	s.grants = kube.Feed(p.feeds, kube.ReferenceGrants, kube.Table[*gatewayv1.ReferenceGrant](p.in.Grants), all)
}

// feedGateways prepares the feeds that Gateways alone need.
func (p *process) feedGateways() {
	all, s := kube.Selection{}, &p.sources
	s.classes = kube.Feed(p.feeds, kube.GatewayClasses, kube.Table[*gatewayv1.GatewayClass](p.in.Classes), all)
	s.parameters = kube.Feed(p.feeds, kube.ClassConfigs, kube.Table[*v2alpha1.CiliumGatewayClassConfig](p.in.Parameters), all)
	s.gateways = kube.Feed(p.feeds, kube.Gateways, kube.Table[*gatewayv1.Gateway](p.in.Gateways), all)
	s.schemas = kube.Feed(p.feeds, kube.Schemas, ruleFields{p.in.RuleFields}, kube.Selection{Fields: "metadata.name=" + routeSchema})
	s.routes = kube.Feed(p.feeds, kube.HTTPRoutes, kube.Table[*gatewayv1.HTTPRoute](p.in.HTTPRoutes), all)
	s.secrets = kube.Feed(p.feeds, kube.Secrets, kube.Table[*corev1.Secret](p.in.Secrets), kube.Selection{Fields: kube.CertificateSecrets})
	s.namespaces = kube.Feed(p.feeds, kube.Namespaces, kube.Table[*corev1.Namespace](p.in.Namespaces), all)
	own := kube.Selection{Labels: operator.GatewayLabel}
	s.ownServices = kube.Feed(p.feeds, kube.OwnServices, kube.NoTable[*corev1.Service]{}, own)
	s.ownSlices = kube.Feed(p.feeds, kube.OwnEndpointSlices, kube.NoTable[*discoveryv1.EndpointSlice]{}, own)
	s.ownSecrets = kube.Feed(p.feeds, kube.OwnSecrets, kube.NoTable[*corev1.Secret]{},
		kube.Selection{Namespace: p.options.SecretsNamespace, Labels: operator.SecretNamespaceLabel})
}

// pipeline makes the graph and ties it to the API server.
func (p *process) pipeline() {
	var hosts *operator.HostNetwork
	if p.options.HostNetwork {
		hosts = &operator.HostNetwork{Nodes: p.options.HostNodes}
	}
	p.graph = operator.NewCluster(&p.tables, p.in, operator.ClusterSettings{
		Settings: operator.Settings{Stage: gateway.Stage{
			Controller: Controller, Infrastructure: true, IgnoreAppProtocol: !p.options.AppProtocol && !p.options.ALPN,
		}},
		HostNetwork:           hosts,
		SecretsNamespace:      p.options.SecretsNamespace,
		ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicy(p.options.ExternalTrafficPolicy),
		Clients:               p.options.clients(),
		AllowUnsafe:           p.options.AllowUnsafe,
	})
	if p.options.GatewayAPI {
		p.writeGateways()
	}
	if p.options.LBIPAM {
		p.loadBalancer()
	}
	if p.options.Announcements {
		p.judgeAnnouncements()
	}
	if p.options.EnvoyConfig {
		p.judgeEnvoyConfigs()
	}
}

// writeGateways writes first what nodes need, then what is said of it.
func (p *process) writeGateways() {
	s := &p.sources
	p.graph.Gateways.OnChange(p.warnOfGateways)
	made := p.loops.group("Gateways", s.classes, s.parameters, s.gateways, s.routes, s.grants, s.services, s.secrets, s.namespaces, s.configs, s.ownServices, s.ownSlices, s.ownSecrets)
	addMade(p, "copies of Secrets", p.graph.Secrets, kube.OwnSecrets, s.ownSecrets, p.secretCopies(),
		func(row operator.SecretCopy) model.Ref { return model.Ref{Kind: "Secret", Name: row.Of.Secret} }).Linger(p.options.SecretsLinger)
	addMade(p, "Services", p.graph.Services, kube.OwnServices, s.ownServices, p.gatewayServices(),
		func(row operator.GatewayService) model.Ref { return row.Owner.Ref() })
	addMade(p, "EndpointSlices", p.graph.Slices, kube.OwnEndpointSlices, s.ownSlices, p.gatewaySlices(),
		func(row operator.GatewaySlice) model.Ref { return row.Owner.Ref() })
	// A listener that moves into a part is there before the main object is
	// without it.
	configs := addMade(p, "CiliumEnvoyConfigs", p.graph.Configs, kube.EnvoyConfigs, s.configs, p.gatewayConfigs(),
		func(row operator.GatewayConfig) model.Ref { return row.Owner.Ref() })
	configs.First(operator.GatewayConfig.HasListeners)
	configs.Fair(turnOfConfig)
	said := p.loops.group("statuses of Gateways", s.classes, s.parameters, s.gateways, s.routes, s.grants, s.services, s.secrets, s.namespaces, s.configs, s.nodes, s.envoyNodes)
	said.after = made
	gateways := addStatus(p, "statuses of Gateways", p.graph.GatewayStatuses, kube.Gateways, s.gateways, fillGatewayStatus)
	gateways.Space(spacing)
	gateways.Fair(func(row operator.GatewayStatus) reconcile.Turn { return turnOf(row.Object.Namespace) })
	routes := addStatus(p, "statuses of HTTPRoutes", p.graph.RouteStatuses, kube.HTTPRoutes, s.routes, fillRouteStatus)
	routes.Yield(statusDelay)
	routes.Fair(func(row operator.RouteStatus) reconcile.Turn { return turnOf(row.Object.Namespace) })
	p.loops.group("statuses of GatewayClasses", s.classes, s.parameters, s.schemas)
	addStatus(p, "statuses of GatewayClasses", p.graph.ClassStatuses, kube.GatewayClasses, s.classes, fillClassStatus)
	p.loops.group("CiliumGatewayClassConfigs", s.parameters)
	addStatus(p, "statuses of CiliumGatewayClassConfigs", p.graph.ParametersStatuses, kube.ClassConfigs, s.parameters, fillParametersStatus)
}

// warnOfGateways logs what of Gateways is without effect, as their statuses say.
func (p *process) warnOfGateways(changes []flow.Change[gateway.Gateway]) {
	for _, c := range changes {
		if c.HasNew && c.New.Warning != "" && c.New.Warning != c.Old.Warning {
			p.log.Warn("part of a Gateway is without effect", "gateway", c.New.Name, "warning", c.New.Warning)
		}
	}
}

// loadBalancer gives Services addresses from pools.
func (p *process) loadBalancer() {
	addresses := operator.NewLoadBalancer(&p.tables, operator.LoadBalancerInputs{
		Services: p.in.Services, Pools: p.pools, Classless: p.options.DefaultLBServiceIPAM == "lbipam",
	})
	p.loops.group("addresses", p.sources.services, p.sources.pools)
	s := &p.sources
	addKept(p, "addresses of Services", addresses.Assignments, serviceAddresses{p.client, s.services}, s.services, model.Name.String)
	addKept(p, "statuses of pools", addresses.Uses, poolStatuses{p.client, s.pools}, s.pools, model.Name.String)
}

// judgeEnvoyConfigs writes what is said of users' CiliumEnvoyConfigs.
func (p *process) judgeEnvoyConfigs() {
	s := &p.sources
	p.loops.group("CiliumEnvoyConfigs", s.configs, s.clusterwide, s.services, s.nodes, s.envoyNodes, s.grants)
	addKept(p, "statuses of CiliumEnvoyConfigs", p.graph.EnvoyConfigs.Statuses, statusWriter(p, s.configs,
		func(row operator.EnvoyConfigStatus, o *ciliumv2.CiliumEnvoyConfig) {
			fillEnvoyConfigStatus(row, &o.Status)
		},
		conditionEvents(p, kube.EnvoyConfigs, func(o *ciliumv2.CiliumEnvoyConfig) *ciliumv2.CiliumEnvoyConfigStatus { return &o.Status }),
	), s.configs, statusKey(kube.EnvoyConfigs)).Fair(func(row operator.EnvoyConfigStatus) reconcile.Turn { return turnOf(row.Object.Namespace) })
	addKept(p, "statuses of CiliumClusterwideEnvoyConfigs", p.graph.EnvoyConfigs.ClusterwideStatuses, statusWriter(p, s.clusterwide,
		func(row operator.EnvoyConfigStatus, o *ciliumv2.CiliumClusterwideEnvoyConfig) {
			fillEnvoyConfigStatus(row, &o.Status)
		},
		conditionEvents(p, kube.ClusterwideEnvoyConfigs, func(o *ciliumv2.CiliumClusterwideEnvoyConfig) *ciliumv2.CiliumEnvoyConfigStatus { return &o.Status }),
	), s.clusterwide, statusKey(kube.ClusterwideEnvoyConfigs))
}
