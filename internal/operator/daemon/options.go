package daemon

import (
	"cmp"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Options say where the operator runs and what it does.
type Options struct {
	Kube kube.Options
	// Namespace is Waggle's own, where the Lease is.
	Namespace string
	// Identity tells the operators of a cluster from each other; empty: the
	// host's name and the process's number.
	Identity string
	StateDir string // for the socket that answers questions
	Health   string // address that answers /healthz and /readyz; empty: none
	Garbage  GarbageOptions
	// GatewayAPI: Gateways are served. EnvoyConfig: users' CiliumEnvoyConfigs
	// are judged.
	GatewayAPI, EnvoyConfig bool
	// AllowUnsafe is envoyConfig.allowUnsafe, as the agents have it.
	AllowUnsafe bool
	// SecretsNamespace is where agents read the Secrets that Gateways present;
	// copies of them are kept there.
	SecretsNamespace string
	// SecretsLinger is for how long a copy stays that no Gateway presents any
	// more: agents may have the Gateway as it was before.
	SecretsLinger time.Duration
	// ExternalTrafficPolicy is that of Gateways' Services: "Cluster" or "Local".
	ExternalTrafficPolicy string
	// UseRemoteAddress: Gateways take the address of a connection for the
	// client's, or that of the TrustedHops-th proxy before it; else what the
	// client says.
	UseRemoteAddress bool
	TrustedHops      uint32
	// ProxyProtocol: connections to Gateways begin with a header of the PROXY
	// protocol. ALPN: Gateways offer HTTP/2 with TLS. AppProtocol, or ALPN:
	// backends are spoken to as the appProtocol of their Services' ports says.
	ProxyProtocol, ALPN, AppProtocol bool
	// HostNetwork: Gateways answer at the addresses of the nodes that have the
	// labels HostNodes; without any, of all nodes.
	HostNetwork bool
	HostNodes   map[string]string
	// LBIPAM: Services of type LoadBalancer are given addresses of pools.
	// DefaultLBServiceIPAM is "lbipam" where that is for those without a class,
	// too, or "none".
	LBIPAM               bool
	DefaultLBServiceIPAM string
	// Announcements: policies of L2 announcements are judged.
	Announcements bool
	Log           *slog.Logger
	Version       string

	hasten func(*kube.Election) // has other durations; nil: the usual ones
}

// clients says how Gateways treat theirs.
func (o Options) clients() model.Clients {
	return model.Clients{TrustedHops: o.TrustedHops, Said: !o.UseRemoteAddress, ProxyProtocol: o.ProxyProtocol, NoALPN: !o.ALPN}
}

// GarbageOptions say when an identity that nobody has is removed.
type GarbageOptions struct {
	Every  time.Duration // between two looks
	Unused time.Duration // for how long nobody must have had it
}

// leaseName is Cilium's, so that two operators of either kind never write.
const leaseName = "cilium-operator-resource-lock"

func (o Options) lease() model.Name { return model.Name{Namespace: o.Namespace, Name: leaseName} }

func (o Options) election(identity string) kube.Election {
	e := kube.NewElection(o.lease(), identity, o.Log)
	if o.hasten != nil {
		o.hasten(&e)
	}
	return e
}

func (o Options) identity() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return cmp.Or(o.Identity, host+"-"+time.Now().UTC().Format("20060102T150405.000000000"))
}

// Socket is where the operator with that state directory answers questions.
func Socket(stateDir string) string { return filepath.Join(stateDir, "operator.sock") }
