package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/waggle-mesh/waggle/internal/ask"
	"github.com/waggle-mesh/waggle/internal/cli"
	"github.com/waggle-mesh/waggle/internal/memory"
	operator "github.com/waggle-mesh/waggle/internal/operator/daemon"
)

func operatorCommand() *cobra.Command {
	o := operator.Options{Version: version}
	var level string
	c := &cobra.Command{
		Use:   "operator",
		Short: "Be the operator of a Kubernetes cluster",
		Long: `Translates Gateway API objects into Services and CiliumEnvoyConfigs, says in each
object's status what became of it, and removes CiliumIdentities that no pod has any
more. Runs in the Deployment "cilium-operator", without privileges.

Of several operators one writes; the others know all it knows, and one of them takes
over when it ends. While none runs, traffic goes on as it is.

Exit codes: 0 it was told to stop; 2 it cannot begin, for the reason it gives.`,
		Example: `  waggle operator --k8s-service-host 10.0.0.1 --k8s-service-port 6443
  waggle operator --kubeconfig ~/.kube/config --state-dir /tmp/operator --log-level debug`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Garbage.Every <= 0 || o.Garbage.Unused <= 0 {
				return fmt.Errorf("--identity-gc-interval and --identity-heartbeat-timeout must be above 0")
			}
			if o.ExternalTrafficPolicy != "Cluster" && o.ExternalTrafficPolicy != "Local" {
				return fmt.Errorf("--gateway-api-service-externaltrafficpolicy: %q is neither Cluster nor Local", o.ExternalTrafficPolicy)
			}
			if o.DefaultLBServiceIPAM != "lbipam" && o.DefaultLBServiceIPAM != "none" {
				return fmt.Errorf("--default-lb-service-ipam: %q is neither lbipam nor none", o.DefaultLBServiceIPAM)
			}
			log, err := logger(c, level)
			if err != nil {
				return err
			}
			o.Log, o.Kube.UserAgent, o.SecretsLinger = log, "cilium-operator/"+version, time.Minute
			ctx, _ := interrupts(c.Context())
			go memory.Keep(ctx)
			return operator.Run(ctx, o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Namespace, "namespace", envOr("CILIUM_K8S_NAMESPACE", "kube-system"), "`namespace` of the Lease that says who leads (environment: CILIUM_K8S_NAMESPACE)")
	f.StringVar(&o.Kube.Kubeconfig, "kubeconfig", "", "`file` that says how to reach the API server (default: the pod's service account)")
	f.StringVar(&o.Kube.Host, "k8s-service-host", "", "`address` of the API server, which must be reachable without Services")
	f.Uint16Var(&o.Kube.Port, "k8s-service-port", 6443, "its `port`, with --k8s-service-host")
	f.StringVar(&o.StateDir, "state-dir", agentStateDir, "`directory` for the socket that answers questions")
	f.StringVar(&o.Health, "operator-api-serve-addr", "127.0.0.1:9234", "`address` that answers /healthz and /readyz; empty: none")
	f.DurationVar(&o.Garbage.Every, "identity-gc-interval", 5*time.Minute, "time between two looks for identities that nobody has")
	f.DurationVar(&o.Garbage.Unused, "identity-heartbeat-timeout", 15*time.Minute, "time after which an identity that nobody has is removed")
	f.BoolVar(&o.GatewayAPI, "enable-gateway-api", true, "serve Gateways")
	f.BoolVar(&o.EnvoyConfig, "enable-envoy-config", true, "say in users' CiliumEnvoyConfigs what became of them")
	f.BoolVar(&o.AllowUnsafe, "envoy-config-allow-unsafe", false, "judge CiliumEnvoyConfigs as agents do that have this flag")
	f.StringVar(&o.SecretsNamespace, "gateway-api-secrets-namespace", "cilium-secrets", "`namespace` where agents read the Secrets that Gateways present; copies are kept there")
	f.StringVar(&o.ExternalTrafficPolicy, "gateway-api-service-externaltrafficpolicy", "Cluster", "externalTrafficPolicy of Gateways' Services: `Cluster` or Local")
	f.BoolVar(&o.UseRemoteAddress, "gateway-api-use-remote-address", true, "have Gateways take a connection's address for the client's; false: what x-forwarded-for says, whoever wrote it")
	f.Uint32Var(&o.TrustedHops, "gateway-api-xff-num-trusted-hops", 0, "`number` of proxies before Gateways that append to x-forwarded-for and are believed")
	f.BoolVar(&o.ProxyProtocol, "enable-gateway-api-proxy-protocol", false, "have Gateways take connections that begin with a header of the PROXY protocol, and no others")
	f.BoolVar(&o.ALPN, "enable-gateway-api-alpn", true, "have Gateways offer HTTP/2 to clients with TLS; false: these speak HTTP/1.1")
	f.BoolVar(&o.AppProtocol, "enable-gateway-api-app-protocol", true, "speak to backends as the appProtocol of their Services' ports says, as with --enable-gateway-api-alpn; false: HTTP/1.1")
	f.BoolVar(&o.HostNetwork, "gateway-api-hostnetwork-enabled", false, "bind Gateways' listeners at the nodes' own addresses")
	f.StringToStringVar(&o.HostNodes, "gateway-api-hostnetwork-nodelabelselector", nil, "labels of the nodes that do (`name=value,...`); empty: all")
	f.BoolVar(&o.Announcements, "enable-l2-announcements", false, "say in CiliumL2AnnouncementPolicies what is wrong with them")
	f.BoolVar(&o.LBIPAM, "enable-lb-ipam", true, "give Services of type LoadBalancer addresses of CiliumLoadBalancerIPPools")
	f.StringVar(&o.DefaultLBServiceIPAM, "default-lb-service-ipam", "lbipam", "who gives Services without a loadBalancerClass their addresses: `lbipam` or none")
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	return c
}

// envOr is an environment variable's value, or another one.
func envOr(name, value string) string {
	if given := os.Getenv(name); given != "" {
		return given
	}
	return value
}

// printOperatorStatus is `waggle status` in an operator's pod. False: no
// operator is there.
func printOperatorStatus(c *cobra.Command, stateDir string, quiet bool, format cli.Format) (there bool, err error) {
	socket := operator.Socket(stateDir)
	if _, err := os.Stat(socket); err != nil {
		return false, nil
	}
	if quiet {
		answer, err := ask.Open(c.Context(), socket, "/readyz")
		if err == nil {
			answer.Close()
		}
		return true, err
	}
	s := &operator.Status{}
	if err := ask.Get(c.Context(), socket, "/status", s); err != nil {
		return true, fmt.Errorf("ask the operator in state directory %s: %w", stateDir, err)
	}
	if err := cli.PrintOperatorStatus(c.OutOrStdout(), s, format); err != nil {
		return true, err
	}
	if !s.OK() {
		return true, errRefused
	}
	return true, nil
}
