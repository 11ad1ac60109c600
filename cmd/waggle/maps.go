package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/waggle-mesh/waggle/internal/cli"
	"github.com/waggle-mesh/waggle/internal/datapath"
)

// mapCommands read what the programs of this node read. They need no agent.
func mapCommands() []*cobra.Command {
	maps := group("map", "Maps of this node's programs", "  waggle map list\n  waggle map get cilium_lb4_services_v2")
	maps.AddCommand(onNode(mapList()), onNode(mapGet()))
	connections := group("ct", "Connections that this node tracks", "  waggle ct list")
	connections.AddCommand(onNode(ctList()))
	return []*cobra.Command{maps, connections, monitorCommand()}
}

// reading opens the maps for a command.
func reading(bpffs *string, f func(c *cobra.Command, args []string, r *datapath.Reader) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		r, err := datapath.OpenReader(*bpffs)
		if err != nil {
			return err
		}
		defer r.Close()
		return f(c, args, r)
	}
}

func bpffsFlag(c *cobra.Command, bpffs *string) {
	c.Flags().StringVar(bpffs, "bpf-root", "", "where a bpf file system is `mounted` (default: as /proc/mounts says)")
}

func mapList() *cobra.Command {
	var format cli.Format
	var bpffs string
	c := &cobra.Command{
		Use: "list", Short: "List the maps and how full they are", Args: cobra.NoArgs,
		Example: "  waggle map list\n  waggle map list -o json",
		RunE: reading(&bpffs, func(c *cobra.Command, _ []string, r *datapath.Reader) error {
			maps, err := r.Maps()
			if err != nil {
				return err
			}
			return cli.PrintMaps(c.OutOrStdout(), maps, format)
		}),
	}
	c.Flags().VarP(&format, "output", "o", "table, json or yaml")
	bpffsFlag(c, &bpffs)
	return c
}

func mapGet() *cobra.Command {
	var format cli.Format
	var bpffs string
	c := &cobra.Command{
		Use: "get NAME", Short: "Show what a map holds", Args: cobra.ExactArgs(1),
		Long:    `Shows a map's entries. NAME is one of "waggle map list", Cilium's names included.`,
		Example: "  waggle map get ipcache\n  waggle map get cilium_lb4_services_v2 --node n1",
		RunE: reading(&bpffs, func(c *cobra.Command, args []string, r *datapath.Reader) error {
			rows, err := r.Rows(args[0])
			if err != nil {
				return err
			}
			return cli.PrintMap(c.OutOrStdout(), rows, format)
		}),
	}
	c.Flags().VarP(&format, "output", "o", "table, json or yaml")
	bpffsFlag(c, &bpffs)
	return c
}

func ctList() *cobra.Command {
	var format cli.Format
	var bpffs string
	c := &cobra.Command{
		Use: "list", Short: "List connections", Args: cobra.NoArgs, Example: "  waggle ct list\n  waggle ct list --node n1",
		RunE: reading(&bpffs, func(c *cobra.Command, _ []string, r *datapath.Reader) error {
			rows, err := r.Rows("conntrack")
			if err != nil {
				return err
			}
			return cli.PrintMap(c.OutOrStdout(), rows, format)
		}),
	}
	c.Flags().VarP(&format, "output", "o", "table, json or yaml")
	bpffsFlag(c, &bpffs)
	return c
}

func monitorCommand() *cobra.Command {
	var bpffs string
	var asJSON, traces bool
	c := &cobra.Command{
		Use: "monitor", Short: "Show dropped packets as they are dropped", Args: cobra.NoArgs,
		Long: `Shows what the programs of this node tell from now on, until Ctrl-C: every dropped
packet with the reason and, with --trace, the first packet of every connection. One
monitor at a time: an event reaches one alone.`,
		Example: "  waggle monitor\n  waggle monitor --trace\n  waggle monitor --json | jq .Reason",
		RunE: reading(&bpffs, func(c *cobra.Command, _ []string, r *datapath.Reader) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			traced := make(chan error, 1)
			if traces {
				go func() {
					defer stop() // what cannot be traced is not waited for
					traced <- r.Trace(ctx)
				}()
			} else {
				traced <- nil
			}
			err := r.Monitor(ctx, printEvents(c.OutOrStdout(), asJSON))
			stop()
			return errors.Join(err, <-traced)
		}),
	}
	c.Flags().BoolVar(&traces, "trace", false, "also the first packet of every connection, on all of the node, which costs it some CPU")
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	bpffsFlag(c, &bpffs)
	return c
}

func printEvents(w io.Writer, asJSON bool) func(datapath.Event) {
	out := json.NewEncoder(w)
	return func(e datapath.Event) {
		if asJSON {
			out.Encode(e)
		} else {
			fmt.Fprintln(w, e)
		}
	}
}
