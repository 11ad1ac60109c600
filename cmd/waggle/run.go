package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/standalone"
)

func runCommand() *cobra.Command {
	var o standalone.Options
	var address, level string
	c := &cobra.Command{
		Use:   "run PATH...",
		Short: "Serve the manifests below PATH on this machine",
		Long: `Reads every *.yaml, *.yml and *.json below PATH, serves the Gateways in them with
Envoy, and follows edits. Each Gateway gets a loopback address of its own:
127.0.0.1, 127.0.0.2, and so on, or the one in its spec.addresses.

A manifest with a mistake changes nothing but itself: what is wrong is said
here and by "waggle status", and the version before goes on serving.

Ctrl-C stops Envoy when its connections have ended, at most 15 seconds later;
once more stops it at once.
If waggle itself is killed, Envoy goes on; the next "waggle run" takes it over.`,
		Example: `  waggle run examples/canary
  waggle run manifests/ more.yaml --envoy /usr/local/bin/envoy
  waggle run examples/canary --port-offset 0 --address 127.0.0.1`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.Paths, o.Out, o.Version = args, c.OutOrStdout(), version
			log, err := logger(c, level)
			if err != nil {
				return err
			}
			o.Log = log
			if address != "" {
				if o.Address, err = netip.ParseAddr(address); err != nil {
					return fmt.Errorf("--address: %w", err)
				}
			}
			if err := checkPortOffset(o.PortOffset); err != nil {
				return err
			}
			if o.Envoy, err = findEnvoy(o.Envoy); err != nil {
				return err
			}
			ctx, hurry := interrupts(c.Context())
			o.Hurry = hurry
			return standalone.Run(ctx, o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Envoy, "envoy", "", "the stock Envoy `binary` (default: envoy on the PATH, else .tools/envoy here or above)")
	f.IntVar(&o.PortOffset, "port-offset", defaultPortOffset(), "added to every listener's port; listeners beyond 65535 are refused")
	f.StringVar(&address, "address", "", "answer on this `address` for all Gateways")
	f.StringVar(&o.StateDir, "state-dir", defaultStateDir(), "`directory` for sockets and Envoy's log; one waggle at a time")
	f.IntVar(&o.Concurrency, "concurrency", 0, "Envoy's worker threads; 0 means one per CPU")
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	f.StringVar((*string)(&o.RouteTables), "route-tables", string(agent.Auto), "auto, plain or scoped")
	if err := f.MarkHidden("route-tables"); err != nil {
		panic(err)
	}
	c.PreRunE = func(*cobra.Command, []string) error {
		switch o.RouteTables {
		case agent.Auto, agent.Plain, agent.Scoped:
			return nil
		}
		return fmt.Errorf("--route-tables: %q is not auto, plain or scoped", o.RouteTables)
	}
	return c
}

// interrupts gives a context that the first Ctrl-C or SIGTERM ends, and a
// channel that the second one closes. A third ends the process.
func interrupts(parent context.Context) (ctx context.Context, hurry <-chan struct{}) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithCancel(parent)
	again := make(chan struct{})
	go func() {
		<-signals
		cancel()
		<-signals
		close(again)
		signal.Stop(signals)
	}()
	return ctx, again
}

// defaultPortOffset lets anybody bind the ports of a Gateway.
func defaultPortOffset() int {
	if os.Geteuid() == 0 {
		return 0
	}
	return 10000
}

func checkPortOffset(offset int) error {
	if offset < 0 || offset > 65534 {
		return fmt.Errorf("--port-offset: %d is not between 0 and 65534", offset)
	}
	return nil
}

// defaultStateDir is the user's own, and short: it holds UNIX sockets.
func defaultStateDir() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "waggle")
	}
	return filepath.Join(os.TempDir(), "waggle-"+strconv.Itoa(os.Geteuid()))
}

// findEnvoy is the binary that is meant, or the first that there is.
func findEnvoy(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	if path, err := exec.LookPath("envoy"); err == nil {
		return path, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		path := filepath.Join(dir, ".tools", "envoy")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no Envoy on the PATH and no .tools/envoy here or above: run `make tools` in Waggle's sources, or say --envoy")
		}
		dir = filepath.Dir(dir)
	}
}

func logger(c *cobra.Command, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level: %w", err)
	}
	return slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: l})), nil
}
