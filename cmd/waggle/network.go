package main

import (
	"github.com/spf13/cobra"

	"github.com/waggle-mesh/waggle/internal/cli"
	"github.com/waggle-mesh/waggle/internal/link/view"
)

// networkCommand needs no agent.
func networkCommand() *cobra.Command {
	var format cli.Format
	c := &cobra.Command{
		Use:   "network",
		Short: "Show what this node's kernel has: links, addresses, neighbours, rules, routes, nftables",
		Long: `Shows what the network of the node consists of, whoever made it, in the words of ip(8)
and nft(8). Of nftables' rules it tells what they look at and what they do, not the
values; rules of the old iptables (iptables-legacy) it does not see. Of each kind the
first 10,000 are told.

Exit codes: 0; 1 something could not be read: "unread" says what, and why.`,
		Example: "  waggle network\n  waggle network --node n1\n  waggle network -o json | jq -r '.routes[]'",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			n := view.Look()
			if err := cli.PrintNetwork(c.OutOrStdout(), n, format); err != nil {
				return err
			}
			if len(n.Unread) > 0 {
				return errRefused
			}
			return nil
		},
	}
	c.Flags().VarP(&format, "output", "o", "table, json or yaml")
	return onNode(c)
}
