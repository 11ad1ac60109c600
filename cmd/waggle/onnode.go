package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// onNode gives a command that asks the agent of this node a flag --node. With it
// the command runs in the pod of that node's agent, wherever it is given.
func onNode(c *cobra.Command) *cobra.Command {
	var cluster clusterFlags
	var node string
	here := c.RunE
	there := pflag.NewFlagSet("", pflag.ContinueOnError)
	there.StringVar(&node, "node", "", "`name` of the node to ask, of a cluster, rather than this one")
	cluster.add(there)
	c.RunE = func(c *cobra.Command, args []string) error {
		if node != "" {
			return cluster.runOn(c, node, commandLine(c, there, args))
		}
		err := here(c, args)
		if errors.Is(err, fs.ErrNotExist) { // nobody's socket
			return fmt.Errorf("%w (outside of an agent's pod, name a node with --node)", err)
		}
		return err
	}
	c.Flags().AddFlagSet(there)
	return c
}

// commandLine is what c was run with, but for the flags of but.
func commandLine(c *cobra.Command, but *pflag.FlagSet, args []string) []string {
	line := strings.Fields(c.CommandPath())
	c.Flags().Visit(func(f *pflag.Flag) {
		if but.Lookup(f.Name) == nil {
			line = append(line, "--"+f.Name+"="+f.Value.String())
		}
	})
	return append(append(line, "--"), args...)
}
