// Command waggle is the agent of a node, the plugin that it installs, what asks
// them, and `waggle run`, which serves manifests without a cluster.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
)

// version is set when building, see the Makefile.
var version = "unknown"

// errRefused makes the exit code 1 without a message: what there is to say
// has been printed.
var errRefused = errors.New("refused")

func main() {
	c := root()
	c.SetArgs(pluginArguments(os.Args))
	err := c.ExecuteContext(context.Background())
	switch {
	case err == nil:
	case errors.Is(err, errRefused):
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, "waggle:", err)
		os.Exit(2)
	}
}

func root() *cobra.Command {
	c := &cobra.Command{
		Use:   "waggle",
		Short: "A service mesh without sidecars",
		Long: `Waggle routes requests by Kubernetes' Gateway API, with a stock Envoy.

"waggle agent" gives the pods of a Kubernetes node their network. Without a cluster
Waggle serves a directory of manifests on this machine:`,
		Example: `  waggle run examples/canary          serve it
  waggle status                       look at what is served
  waggle analyze examples/canary      say what is wrong, without serving it`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	c.AddCommand(runCommand(), analyzeCommand(), statusCommand(), versionCommand(), cniCommand(), configDir(agentCommand()), configDir(operatorCommand()), cleanupCommand(), envoyCommand())
	c.AddCommand(installCommands()...)
	c.AddCommand(clusterCommands()...)
	c.AddCommand(nodeCommands()...)
	c.AddCommand(mapCommands()...)
	c.InitDefaultCompletionCmd() // which cobra makes without an example
	for _, sub := range c.Commands() {
		if sub.Name() == "completion" {
			sub.Example = "  source <(waggle completion bash)"
		}
	}
	complete(c)
	return c
}

// complete gives the commands below c what all have: in the help what exit codes
// mean, and in an error about arguments those that are possible.
func complete(c *cobra.Command) {
	for _, sub := range c.Commands() {
		complete(sub)
	}
	if c.HasSubCommands() {
		return
	}
	if !strings.Contains(c.Long, "Exit code") {
		c.Long = cmp.Or(strings.TrimSpace(c.Long), c.Short+".") + "\n\nExit codes: 0; 2 it could not be done, for the reason it gives."
	}
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return fmt.Errorf("%w; usage: %s", err, c.UseLine())
			}
			return nil
		}
	}
}

// group is a command that has others below it.
func group(name, short, example string) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Example: example, SuggestionsMinimumDistance: 2,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			err := fmt.Errorf("unknown command %q for %q", args[0], c.CommandPath())
			if meant := c.SuggestionsFor(args[0]); len(meant) > 0 {
				err = fmt.Errorf("%w; did you mean %s?", err, strings.Join(meant, " or "))
			}
			return err
		},
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  waggle version",
		Args:    cobra.NoArgs,
		Run: func(c *cobra.Command, _ []string) {
			fmt.Fprintf(c.OutOrStdout(), "waggle %s (%s %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
}
