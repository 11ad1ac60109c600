package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/waggle-mesh/waggle/internal/agent/daemon"
	"github.com/waggle-mesh/waggle/internal/agent/proxy"
	"github.com/waggle-mesh/waggle/internal/envoy"
)

// envoyOwnDir is where an Envoy in a container has what is its own.
const envoyOwnDir = "/run/waggle"

func envoyCommand() *cobra.Command {
	c := group("envoy", "The node's Envoy", "  waggle envoy clusters\n  waggle envoy replace")
	c.AddCommand(envoyRunCommand(), envoyKeepCommand(), envoyReadyCommand(), envoyPreStopCommand(), envoyReplaceCommand())
	c.AddCommand(envoyQuestionCommands()...)
	return c
}

func envoyRunCommand() *cobra.Command {
	var o proxy.ExecOptions
	var keep bool
	c := &cobra.Command{
		Use:   "run",
		Short: "Become the Envoy of this node",
		Long: `Writes Envoy's bootstrap and becomes Envoy, with all that it serves from the node's
agent. It must be in a cgroup of its own, as a container is. While another Envoy of
the node runs, it takes that one's place.

It needs the capability NET_ADMIN; with --uid also SETUID, SETGID, SETPCAP and CHOWN
until it has become Envoy.`,
		Example: "  waggle envoy run --node-name n1",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) (err error) {
			if o.Node == "" {
				return fmt.Errorf("--node-name, or the environment variable K8S_NODE_NAME, must name the node")
			}
			if o.Binary, err = findEnvoy(o.Binary); err != nil {
				return err
			}
			if keep {
				self, err := os.Executable()
				if err != nil {
					return err
				}
				o.Keeper = []string{self, "envoy", "keep", "--remove=" + filepath.Join(o.Dir, proxy.Admin), "--"}
			}
			return proxy.Exec(o)
		},
	}
	f := c.Flags()
	f.BoolVar(&keep, "keep", false, "start Envoy again at once when it has crashed, as long as this process lives")
	f.StringVar(&o.Node, "node-name", os.Getenv("K8S_NODE_NAME"), "`name` of the node's object (environment: K8S_NODE_NAME)")
	f.StringVar(&o.Binary, "envoy", "", "the stock Envoy `binary` (default: envoy on the PATH)")
	f.StringVar(&o.XDSSocket, "xds-socket", proxy.XDSSocket(daemon.EnvoyDir(agentStateDir)), "the agent's `socket`")
	f.StringVar(&o.Dir, "dir", envoyOwnDir, "`directory` of this Envoy's own")
	f.IntVar(&o.Concurrency, "concurrency", 0, "worker `threads` (default: as many as the cgroup has CPUs)")
	f.Uint64Var(&o.HeapBytes, "heap-bytes", 0, "heap at which Envoy defends itself (default: nine tenths of the cgroup's memory)")
	f.StringVar(&o.LogLevel, "log-level", "warning", "Envoy's: trace, debug, info, warning, error")
	f.IntVar(&o.UID, "uid", 0, "`user` to become; the agent's --envoy-uid")
	return c
}

// envoyKeepCommand is what "envoy run --keep" becomes.
func envoyKeepCommand() *cobra.Command {
	var remove []string
	c := &cobra.Command{
		Use:     "keep COMMAND...",
		Short:   "Run a command, and again when a signal has ended it",
		Example: "  waggle envoy keep -- /usr/bin/envoy -c envoy.json",
		Hidden:  true,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, command []string) error {
			code, err := proxy.Keep(command, remove...)
			if err == nil {
				os.Exit(code)
			}
			return err
		},
	}
	c.Flags().StringArrayVar(&remove, "remove", nil, "`file` to remove before it is started again")
	return c
}

func envoyReadyCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:     "ready",
		Short:   "Tell whether the Envoy in this container serves",
		Long:    "A readiness probe. Exit codes: 0 it serves; 2 it does not.",
		Example: "  waggle envoy ready",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := proxy.BecomeOwner(dir); err != nil {
				return err
			}
			return envoy.NewAdmin(filepath.Join(dir, proxy.Admin)).Ready(c.Context())
		},
	}
	c.Flags().StringVar(&dir, "dir", envoyOwnDir, "`directory` of this Envoy's own")
	return c
}

func envoyPreStopCommand() *cobra.Command {
	var dir string
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "prestop",
		Short: "Wait until the Envoy in this container may end",
		Long: `The preStop hook of Envoy's container: the node's agent has another Envoy take this
one's place, or if none comes asks its clients to leave, and answers when nobody is
connected any more or the limit has passed.`,
		Example: "  waggle envoy prestop",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), timeout)
			defer cancel()
			return proxy.AwaitDrained(ctx, dir)
		},
	}
	c.Flags().StringVar(&dir, "socket-dir", daemon.EnvoyDir(agentStateDir), "`directory` of the agent's sockets for Envoy")
	c.Flags().DurationVar(&timeout, "timeout", proxy.Limit+15*time.Second, "how long to wait at most")
	return c
}

func envoyReplaceCommand() *cobra.Command {
	var stateDir string
	var timeout time.Duration
	var keep bool
	c := &cobra.Command{
		Use:   "replace",
		Short: "Have the node's Envoy give way to another",
		Long: `Waits until another Envoy has come, has all listeners and gets the new connections,
and the one before it is idle; ends that one, and says how long it took. No request
fails meanwhile.

The other Envoy is what the DaemonSet starts (kubectl rollout restart), or any
"waggle envoy run" in a cgroup of its own.

Exit codes: 0 replaced; 2 not, for the reason it gives.`,
		Example: "  waggle envoy replace --timeout 2m",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var r proxy.Replacement
			question := "/envoy/replace?" + url.Values{"timeout": {timeout.String()}, "keep": {fmt.Sprint(keep)}}.Encode()
			if err := askAgent(c, stateDir, question, &r); err != nil {
				return err
			}
			printReplacement(c.OutOrStdout(), r)
			return nil
		},
	}
	agentFlag(c, &stateDir)
	c.Flags().DurationVar(&timeout, "timeout", 90*time.Second, "how long to wait at most")
	c.Flags().BoolVar(&keep, "keep", false, "do not end the old one: its pod does")
	return c
}

func printReplacement(w io.Writer, r proxy.Replacement) {
	rounded := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
	fmt.Fprintf(w, "process %d has taken the place of process %d: there after %s, active after %s, the old one idle after %s\n",
		r.New, r.Old, rounded(r.Arrived), rounded(r.Active), rounded(r.Drained))
}
