package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/waggle-mesh/waggle/internal/agent/announcer"
	"github.com/waggle-mesh/waggle/internal/agent/daemon"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/memory"
)

// agentStateDir is where an agent keeps its sockets, agentLastingDir what is to
// outlast a reboot.
const (
	agentStateDir   = "/var/run/cilium"
	agentLastingDir = "/var/lib/cilium"
)

func agentCommand() *cobra.Command {
	o := daemon.Options{Version: version}
	var level string
	c := &cobra.Command{
		Use:   "agent",
		Short: "Be the agent of a Kubernetes node",
		Long: `Gives the node's pods their network and translates Services, in eBPF. Runs as root
in a pod of the DaemonSet "cilium", in the node's network namespace.

Whatever ends it, pods, connections and Services go on; the next agent takes over.
A second agent on the node waits until the first one ends. To remove what an agent
has made, run "waggle cleanup".

Exit codes: 0 it was told to stop; 2 it cannot begin, for the reason it gives.`,
		Example: `  waggle agent --node-name n1 --k8s-service-host 10.0.0.1 --k8s-service-port 6443
  waggle agent --node-name n1 --kubeconfig /etc/kubernetes/admin.conf --log-level debug`,
		Args:    cobra.NoArgs,
		PreRunE: func(*cobra.Command, []string) error { return errors.Join(o.Announce.Check(), o.Families.Check()) },
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Node == "" {
				return fmt.Errorf("--node-name, or the environment variable K8S_NODE_NAME, must name the node")
			}
			log, err := logger(c, level)
			if err != nil {
				return err
			}
			o.Log, o.Kube.UserAgent = log, "cilium-agent/"+version
			o.CNI.Binary = pluginBinary()
			ctx, _ := interrupts(c.Context())
			go memory.Keep(ctx)
			return daemon.Run(ctx, o)
		},
	}
	f := c.Flags()
	nodeFlags(f, &o)
	f.StringVar(&o.Cluster, "cluster-name", "default", "`name` of the cluster, a part of every identity")
	f.StringVar(&o.Uplink, "device", "", "`device` towards the other nodes (default: the one that has the node's address)")
	f.VarPF(&o.Families.IPv4, "enable-ipv4", "", "give pods IPv4 addresses; auto: where the node's spec.podCIDRs has a range for them").NoOptDefVal = "true"
	f.VarPF(&o.Families.IPv6, "enable-ipv6", "", "the same of IPv6").NoOptDefVal = "true"
	f.StringVar(&o.Cgroup, "cgroup-root", "", "where the node's cgroup2 root is `mounted` (default: as /proc/mounts says, below /host if there is one)")
	f.BoolVar(&o.L7Proxy, "enable-l7-proxy", true, "lead connections to the node's Envoy: for Gateways and CiliumEnvoyConfigs")
	f.BoolVar(&o.EnvoyConfig, "enable-envoy-config", true, "heed users' CiliumEnvoyConfigs, not the operator's alone")
	f.StringVar(&o.SecretsNamespace, "gateway-api-secrets-namespace", "cilium-secrets", "`namespace` of the Secrets that listeners present; empty: none are read")
	f.BoolVar(&o.AllowUnsafe, "envoy-config-allow-unsafe", false, "let CiliumClusterwideEnvoyConfigs have Envoy do anything")
	f.BoolVar(&o.Sockmap, "sockmap", false, "hand data between pods and Envoy from socket to socket: less CPU at kept connections, but no device sees it")
	f.IntVar(&o.EnvoyUID, "envoy-uid", 0, "`user` that Envoy runs as")
	announceFlags(f, &o.Announce)
	balanceFlags(f, &o.Balance)
	sizeFlags(f, &o.Sizes)
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	return c
}

// nodeFlags say which node it is, and where on it an agent's things are.
func nodeFlags(f *pflag.FlagSet, o *daemon.Options) {
	f.StringVar(&o.Node, "node-name", os.Getenv("K8S_NODE_NAME"), "`name` of the node's object (environment: K8S_NODE_NAME)")
	apiServerFlags(f, &o.Kube)
	f.StringVar(&o.StateDir, "state-dir", agentStateDir, "`directory` for sockets and what is remembered of pods; the node's, under the same path")
	f.StringVar(&o.LastingDir, "lasting-dir", agentLastingDir, "`directory` for what is remembered of CiliumEnvoyConfigs; the node's, and not emptied by a reboot")
	f.StringVar(&o.CNI.BinDir, "cni-bin-dir", "/opt/cni/bin", "`directory` of the container runtime's CNI plugins")
	f.StringVar(&o.CNI.ConfDir, "cni-conf-dir", "/etc/cni/net.d", "`directory` of its CNI configuration")
	f.StringVar(&o.BPFFS, "bpf-root", "", "where a bpf file system is `mounted` (default: as /proc/mounts says)")
}

// announceFlags say how nodes decide who announces an address.
func announceFlags(f *pflag.FlagSet, o *announcer.Options) {
	f.BoolVar(&o.Enabled, "enable-l2-announcements", false, "answer ARP and neighbour solicitations for Services' addresses, as CiliumL2AnnouncementPolicies say")
	f.StringVar(&o.Namespace, "l2-announcements-namespace", envOr("CILIUM_K8S_NAMESPACE", "kube-system"), "`namespace` of the Leases of announcements (environment: CILIUM_K8S_NAMESPACE)")
	f.DurationVar(&o.Duration, "l2-announcements-lease-duration", 15*time.Second, "`time` after which another node takes the place of one that is silent")
	f.DurationVar(&o.Deadline, "l2-announcements-renew-deadline", 5*time.Second, "how much `time` a renewal may take")
	f.DurationVar(&o.Retry, "l2-announcements-retry-period", 2*time.Second, "`time` between two tries to renew")
}

// apiServerFlags say how to reach the API server.
func apiServerFlags(f *pflag.FlagSet, o *kube.Options) {
	f.StringVar(&o.Kubeconfig, "kubeconfig", "", "`file` that says how to reach the API server (default: the pod's service account)")
	f.StringVar(&o.Host, "k8s-service-host", "", "`address` of the API server, which must be reachable without Services")
	f.Uint16Var(&o.Port, "k8s-service-port", 6443, "its `port`, with --k8s-service-host")
}

func cleanupCommand() *cobra.Command {
	o := daemon.Options{Version: version}
	var level string
	var stay bool
	c := &cobra.Command{
		Use:   "cleanup",
		Short: "Remove every trace of an agent from this node",
		Long: `Detaches programs, removes maps, routes, pods' devices, the CNI plugin and its
configuration. Pods of the node lose their network. Refuses while an agent runs.

With --node-name also removes from the API server what the node's agent has written:
its pods' CiliumEndpoints and its Node's annotations.

Sysctls get back the values that they had before the node's first agent.`,
		Example: "  waggle cleanup\n  waggle cleanup --node-name n1 --kubeconfig /etc/kubernetes/admin.conf",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := logger(c, level)
			if err != nil {
				return err
			}
			o.Log, o.Kube.UserAgent = log, "cilium-agent/"+version
			if err := daemon.Cleanup(o); err != nil || !stay {
				return err
			}
			ctx, _ := interrupts(c.Context())
			<-ctx.Done()
			return nil
		},
	}
	f := c.Flags()
	nodeFlags(f, &o)
	f.Lookup("node-name").Usage += "; empty: leave the API server alone"
	f.BoolVar(&stay, "stay", false, "when all is removed, stay until told to stop: for pods of a DaemonSet")
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	return c
}
