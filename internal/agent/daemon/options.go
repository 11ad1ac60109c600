package daemon

import (
	"log/slog"
	"path/filepath"

	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/agent/announcer"
	"github.com/waggle-mesh/waggle/internal/cni"
	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/internal/envoyconfig"
	"github.com/waggle-mesh/waggle/internal/kube"
)

// Options say which node it is and where things are.
type Options struct {
	Node    string // the name of the node's object
	Cluster string // the cluster's name, a part of every identity
	Kube    kube.Options
	// StateDir holds sockets, the lock and what is remembered of pods, under
	// the same path for the runtime. A reboot may empty it.
	StateDir string
	// LastingDir holds what users' CiliumEnvoyConfigs last asked for, which a
	// reboot is to leave there.
	LastingDir string
	CNI        cni.Installation // Socket is StateDir's
	agent.Families
	Uplink      string // empty: found by the node's addresses
	BPFFS       string // empty: as /proc/mounts says
	Cgroup      string // the node's cgroup2 root; empty: as /proc/mounts says
	Sizes       datapath.Sizes
	L7Proxy     bool // connections are led to Envoy
	EnvoyConfig bool // users' CiliumEnvoyConfigs count, not the operator's alone
	// SecretsNamespace has the Secrets that listeners present; empty: none.
	SecretsNamespace string
	AllowUnsafe      bool // clusterwide CiliumEnvoyConfigs may do anything
	// Balance are the Services whose requests Envoy distributes.
	Balance  envoyconfig.Balance
	Sockmap  bool // data between pods and Envoy goes from socket to socket
	EnvoyUID int  // Envoy's user
	Announce announcer.Options
	Log      *slog.Logger
	Version  string
}

// Socket is where the agent with that state directory answers questions.
func Socket(stateDir string) string { return filepath.Join(stateDir, "agent.sock") }

// EnvoyDir has the sockets that an Envoy of the node needs, in that state
// directory.
func EnvoyDir(stateDir string) string { return filepath.Join(stateDir, "envoy") }

func (o Options) envoyDir() string  { return EnvoyDir(o.StateDir) }
func (o Options) cniSocket() string { return filepath.Join(o.StateDir, "cni", "cni.sock") }
func (o Options) cniState() string  { return filepath.Join(o.StateDir, "endpoints") }
func (o Options) sysctls() string   { return filepath.Join(o.StateDir, "sysctls") }
func (o Options) lock() string      { return filepath.Join(o.StateDir, "agent.lock") }
func (o Options) configs() string   { return filepath.Join(o.LastingDir, "configs") }

// formerConfigs is where versions before had what is in configs.
func (o Options) formerConfigs() string { return filepath.Join(o.StateDir, "configs") }
