package daemon

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	waggle "github.com/waggle-mesh/waggle/api/waggle.io/v1alpha1"
	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/agent/announcer"
	"github.com/waggle-mesh/waggle/internal/agent/kept"
	"github.com/waggle-mesh/waggle/internal/agent/proxy"
	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/ipam"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/link"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
)

// connect prepares the feeds and the tables they write to.
func (a *node) connect() (err error) {
	if a.client, err = kube.Connect(a.options.Kube, a.log); err != nil {
		return err
	}
	a.feeds = kube.NewFeeds(a.client, a.log)
	a.in = agent.NewNodeInputs(&a.tables)
	a.configs = agent.NewEnvoyInputs(&a.tables, a.in)
	a.configs.GeneratedOnly, a.configs.AllowUnsafe = !a.options.EnvoyConfig, a.options.AllowUnsafe
	a.configs.Balance = a.options.Balance
	everything := kube.Selection{}
	a.sources.nodes = kube.Feed(a.feeds, kube.Nodes, kube.Table[*corev1.Node](a.in.Nodes), everything)
	kube.Feed(a.feeds, kube.Pods, kube.Table[*corev1.Pod](a.in.Pods), kube.Selection{Fields: "spec.nodeName=" + a.options.Node})
	kube.Feed(a.feeds, kube.Namespaces, kube.Table[*corev1.Namespace](a.in.Namespaces), everything)
	kube.Feed(a.feeds, kube.Services, kube.Table[*corev1.Service](a.in.Services), everything)
	kube.Feed(a.feeds, kube.EndpointSlices, kube.Table[*discoveryv1.EndpointSlice](a.in.EndpointSlices), everything)
	a.sources.identities = kube.Feed(a.feeds, kube.Identities, kube.Table[*ciliumv2.CiliumIdentity](a.in.Identities), everything)
	a.feedEnvoys()
	a.feedAnnouncements()
	a.sources.endpoints = kube.Feed(a.feeds, kube.Endpoints, kube.Table[*ciliumv2.CiliumEndpoint](a.in.Endpoints), everything)
	return nil
}

// feedEnvoys prepares the feeds that only Envoys need.
func (a *node) feedEnvoys() {
	if !a.options.L7Proxy {
		return
	}
	everything := kube.Selection{}
	kube.Feed(a.feeds, kube.ServedEnvoyConfigs, kube.Table[*ciliumv2.CiliumEnvoyConfig](a.configs.Configs), everything)
	kube.Feed(a.feeds, kube.ClusterwideEnvoyConfigs, kube.Table[*ciliumv2.CiliumClusterwideEnvoyConfig](a.configs.Clusterwide), everything)
	kube.Feed(a.feeds, kube.ReferenceGrants, kube.Table[*gatewayv1.ReferenceGrant](a.configs.Grants), everything)
	if a.options.SecretsNamespace != "" {
		kube.Feed(a.feeds, kube.Secrets, kube.Table[*corev1.Secret](a.configs.Secrets), kube.Selection{Namespace: a.options.SecretsNamespace})
	}
	a.sources.envoys = kube.Feed(a.feeds, kube.EnvoyNodes, kube.Table[*waggle.EnvoyNode](a.configs.Answers), kube.Selection{Fields: "metadata.name=" + a.options.Node})
}

// feedAnnouncements prepares the feeds of announcements, if there are any.
func (a *node) feedAnnouncements() {
	a.announcer = announcer.New(a.feeds, a.options.Announce, announcer.Node{
		Name: a.options.Node, Tell: a.tell, Log: a.log,
		There: func(service string) bool { _, ok := a.in.Services.Get(service); return ok },
	})
	if a.announcer != nil {
		kube.Feed(a.feeds, kube.AnnouncementPolicies, kube.Table[kube.AnnouncementPolicy](a.in.Policies), kube.Selection{})
	}
}

// open takes over, or makes, what is on the node.
func (a *node) open() (err error) {
	a.enter(Phase{Waiting: "for the data path to load"})
	if a.pool, err = ipam.New(a.place.PodCIDRs); err != nil {
		return fmt.Errorf("use spec.podCIDRs of node %s: %w", a.options.Node, err)
	}
	addresses := a.place.Addresses
	a.link, err = link.Open(link.Options{
		Addresses: addresses, Uplink: a.options.Uplink, Routers: a.pool.Routers(), PodCIDRs: a.place.PodCIDRs, Ingress: a.pool.Ingress(),
		Former: a.options.sysctls(), Log: a.log,
	})
	if err != nil {
		return err
	}
	if err := a.link.Prepare(); err != nil {
		return fmt.Errorf("prepare the node's network: %w", err)
	}
	cgroup := cmp.Or(a.options.Cgroup, hostCgroup())
	o := datapath.Options{
		BPFFS: a.options.BPFFS, Cgroup: cgroup, Uplink: a.link.Uplink().Name, Addresses: addresses, Sizes: a.options.Sizes,
		Disconnect: link.DestroyDatagrams,
	}
	o.IPv4, o.IPv6 = a.place.Own()
	if a.datapath, err = datapath.Open(o); err != nil {
		return err
	}
	ingress4, ingress6 := a.pool.FirstIngress()
	a.proxy, err = proxy.Open(a.datapath, proxy.Options{
		Node4: o.IPv4, Node6: o.IPv6, Ingress4: ingress4, Ingress6: ingress6, CgroupRoot: cgroup,
		Dir: a.options.envoyDir(), NumbersFile: filepath.Join(a.options.StateDir, "proxy-numbers"), Sockmap: a.options.Sockmap, UID: a.options.EnvoyUID, Log: a.log,
	})
	return err
}

// endpointsOutput is the name of the Output of PodEndpoints.
const endpointsOutput = "endpoints"

// pipeline makes the graph and ties it to the world.
func (a *node) pipeline() error {
	of := func(choose func(*ipam.Pool) []netip.Addr) func(netip.Prefix) netip.Addr {
		return func(cidr netip.Prefix) netip.Addr {
			if pool, err := ipam.New([]netip.Prefix{cidr}); err == nil {
				return choose(pool)[0]
			}
			return netip.Addr{}
		}
	}
	ingress4, ingress6 := a.pool.FirstIngress()
	files := kept.Files{Dir: a.options.configs()}
	a.configs.Remembered = kept.Files{Dir: a.options.formerConfigs()}.Read(a.log)
	maps.Copy(a.configs.Remembered, files.Read(a.log))
	configs := agent.NewEnvoyConfigs(&a.tables, a.configs, a.options.Node)
	graph := agent.NewProxy(&a.tables, configs.Inputs(&a.tables, render.Node{
		Ingress4: ingress4, Ingress6: ingress6, FirstPort: model.ReservedPorts.First, LastPort: model.ReservedPorts.Last,
	}))
	a.in.Redirects, a.in.Live = graph.Redirects, flow.NewTable(&a.tables, "live listeners", flow.Equal[flow.KeyRow])
	a.graph = agent.NewNode(&a.tables, a.in, agent.NodeSettings{
		Node: a.options.Node, Cluster: a.options.Cluster, Uplink: a.link.Uplink().Name, Families: a.options.Families,
		Router: of((*ipam.Pool).Routers), Ingress: of((*ipam.Pool).Ingress),
	})
	var err error
	if a.envoys, err = newEnvoys(a, configs, graph); err != nil {
		return err
	}
	add(a, "backend sets", a.graph.BackendSets, a.datapath.BackendSets(), nil)
	add(a, "frontends", a.graph.Frontends, frontendMap{a.datapath.Frontends()}, a.envoys.frontendWritten) // refer to sets
	add(a, "ipcache", a.graph.IPIdentities, a.datapath.Identities(), nil)
	add(a, endpointsOutput, a.graph.PodEndpoints, endpointMap{a.datapath.Endpoints()}, a.endpointWritten)
	taken := newRevocations(a.graph, a.tell, a.link.DestroyConnections, a.log)
	a.graph.Verdicts.OnChange(taken.changed)
	a.graph.IPIdentities.OnChange(taken.identitiesChanged)
	a.graph.Frontends.OnChange(taken.frontendsChanged)
	add(a, "verdicts", a.graph.Verdicts, a.datapath.Verdicts(), taken.written)
	add(a, "routes", a.graph.Routes, a.link.Routes(), nil)
	add(a, "CiliumIdentities", a.graph.Requests, identities{client: a.client, source: a.sources.identities}, nil)
	endpoints := add(a, "CiliumEndpoints", a.graph.EndpointObjects, endpointObjects(a.client, a.sources.endpoints, a.self), nil)
	kube.Keep(a.sources.endpoints, a.graph.EndpointObjects, endpoints, model.Name.String)
	add(a, "node annotations", a.graph.Annotations, annotations{client: a.client}, nil)
	if a.options.L7Proxy {
		answers := add(a, "EnvoyNode", a.envoys.answers, envoyNodes(a.client, a.sources.envoys, a.self), nil)
		kube.Keep(a.sources.envoys, a.envoys.answers, answers, model.Name.String)
		add(a, "kept CiliumEnvoyConfigs", configs.Lasting(&a.tables), files, nil)
	}
	a.graph.Announcements.OnChange(a.announcer.Changed)
	a.in.Services.OnChange(func(all []flow.Change[model.Object[*corev1.Service]]) {
		for _, c := range all {
			if !c.HasNew {
				a.announcer.Gone(c.Old.Name)
			}
		}
	})
	add(a, "warnings", a.graph.Unsupported, warnings{client: a.client}, nil)
	return nil
}

// restore finds the pods that run.
func (a *node) restore(ctx context.Context) error {
	a.enter(Phase{Waiting: "for the pods that run to be found"})
	if err := a.cni.Recover(ctx); err != nil {
		return fmt.Errorf("recover the pods of an earlier agent: %w", err)
	}
	all := a.cni.Endpoints()
	for _, e := range all {
		if err := a.datapath.AttachPod(e.Index); err != nil {
			return fmt.Errorf("attach programs to pod %s: %w", e.Pod, err)
		}
	}
	ok := a.turns.Take(ctx, func() {
		for _, e := range all {
			e.Identity = 0
			a.in.Links.Set(e)
		}
		a.restored = true
	})
	if !ok {
		return ctx.Err()
	}
	return nil
}

// catchUp waits until every Output has seen every row.
func (a *node) catchUp(ctx context.Context) error {
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for unread := ""; ; {
		now := a.unread()
		if now == "" {
			break
		}
		if now != unread {
			a.enter(Phase{Waiting: "for the API server to tell of every " + now})
			unread = now
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, l := range a.loops.all {
		a.enter(Phase{Waiting: "for " + l.name + " to be written"})
		select {
		case <-l.passed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
