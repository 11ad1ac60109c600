package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/waggle-mesh/waggle/internal/agent/daemon"
	"github.com/waggle-mesh/waggle/internal/ask"
	"github.com/waggle-mesh/waggle/internal/cli"
)

// nodeCommands ask the agent of this node.
func nodeCommands() []*cobra.Command {
	endpoint := group("endpoint", "Pods of this node", "  waggle endpoint list")
	endpoint.AddCommand(nodeList("list", "List the pods of this node", "  waggle endpoint list\n  waggle endpoint list -o json | jq '.[].identity'", "/endpoints", cli.PrintEndpoints))
	service := group("service", "Services", "  waggle service list")
	service.AddCommand(nodeList("list", "List where Services answer, and by whom", "  waggle service list", "/services", cli.PrintServices))
	return []*cobra.Command{endpoint, service, cecCommand(), networkCommand()}
}

// nodeList asks the agent for rows and prints them.
func nodeList[T any](use, short, example, question string, print func(io.Writer, T, cli.Format) error) *cobra.Command {
	var format cli.Format
	var stateDir string
	c := &cobra.Command{
		Use: use, Short: short, Example: example, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var rows T
			if err := askAgent(c, stateDir, question, &rows); err != nil {
				return err
			}
			return print(c.OutOrStdout(), rows, format)
		},
	}
	c.Flags().VarP(&format, "output", "o", "table, json or yaml")
	agentFlag(c, &stateDir)
	return onNode(c)
}

func agentFlag(c *cobra.Command, stateDir *string) {
	c.Flags().StringVar(stateDir, "state-dir", agentStateDir, "`directory` of the agent's sockets")
}

// askAgent puts a question to the agent of this node.
func askAgent(c *cobra.Command, stateDir, question string, answer any) error {
	if err := ask.Get(c.Context(), daemon.Socket(stateDir), question, answer); err != nil {
		return fmt.Errorf("ask the agent in state directory %s: %w", stateDir, err)
	}
	return nil
}

// printAgentStatus is `waggle status` on a node. False: no agent is there.
func printAgentStatus(c *cobra.Command, stateDir string, quiet bool, format cli.Format) (there bool, err error) {
	if _, err := os.Stat(daemon.Socket(stateDir)); err != nil {
		return false, nil
	}
	if quiet {
		answer, err := ask.Open(c.Context(), daemon.Socket(stateDir), "/ready")
		if err == nil {
			answer.Close()
		}
		return true, err
	}
	s := &daemon.Status{}
	if err := askAgent(c, stateDir, "/status", s); err != nil {
		return true, err
	}
	if err := cli.PrintAgentStatus(c.OutOrStdout(), s, format); err != nil {
		return true, err
	}
	if !s.OK() {
		return true, errRefused
	}
	return true, nil
}
