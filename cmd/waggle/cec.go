package main

import (
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waggle-mesh/waggle/internal/agent/daemon"
	"github.com/waggle-mesh/waggle/internal/ask"
	"github.com/waggle-mesh/waggle/internal/cli"
)

// cecCommand asks the agent what its Envoy is given.
func cecCommand() *cobra.Command {
	c := group("cec", "CiliumEnvoyConfigs, as this node serves them", "  waggle cec list\n  waggle cec explain shop/web")
	c.AddCommand(
		nodeList("list", "List the objects that this node serves", "  waggle cec list\n  waggle cec list --node n1", "/cec", cli.PrintConfigs),
		onNode(cecShowCommand()), onNode(cecExplainCommand()))
	return c
}

func cecShowCommand() *cobra.Command {
	var stateDir string
	format := cli.Format("yaml")
	c := &cobra.Command{
		Use:   "show [NAMESPACE/]NAME",
		Short: "Show what an object has become: resources by Envoy's names, Services, warnings",
		Long: `Shows what the node's Envoy is given of a CiliumEnvoyConfig, or, with a name alone, of a
CiliumClusterwideEnvoyConfig. An object that is not valid is not there, or the last version
that was: "kubectl describe cec" says why.`,
		Example: "  waggle cec show shop/canary\n  waggle cec show envoy-admin -o json",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var rows []daemon.ConfigStatus
			if err := askAgent(c, stateDir, "/cec", &rows); err != nil {
				return err
			}
			for _, r := range rows {
				if _, name, _ := strings.Cut(r.Object, " "); name == args[0] {
					return cli.PrintConfigs(c.OutOrStdout(), []daemon.ConfigStatus{r}, format)
				}
			}
			return fmt.Errorf("this node serves no object %s; `waggle cec list` has those that it does", args[0])
		},
	}
	c.Flags().VarP(&format, "output", "o", "table, json or yaml")
	agentFlag(c, &stateDir)
	return c
}

func cecExplainCommand() *cobra.Command {
	var stateDir string
	var format cli.Format
	c := &cobra.Command{
		Use:   "explain NAMESPACE/SERVICE",
		Short: "Say what a Service's connections meet: object, listener, rules, backends",
		Long: `Says for each port of the Service that is led to Envoy which object does so, by which
listener, and then each rule in the order in which Envoy looks: which connections, hosts
and requests it is for, and which endpoints they can reach now.

Exit code 1: none of the Service's ports is led to Envoy.`,
		Example: "  waggle cec explain shop/web\n  waggle cec explain shop/web -o json | jq '.[].services[].rules'",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if !strings.Contains(args[0], "/") {
				args[0] = "default/" + args[0]
			}
			var rows []daemon.ConfigStatus
			if err := askAgent(c, stateDir, "/cec?service="+url.QueryEscape(args[0]), &rows); err != nil {
				return err
			}
			if len(rows) == 0 {
				fmt.Fprintf(c.ErrOrStderr(), "no port of Service %s is led to Envoy on this node\n", args[0])
				return errRefused
			}
			return cli.PrintExplained(c.OutOrStdout(), rows, format)
		},
	}
	c.Flags().VarP(&format, "output", "o", "table, json or yaml")
	agentFlag(c, &stateDir)
	return c
}

// envoyQuestionCommands ask the node's Envoy, by way of its agent.
func envoyQuestionCommands() (all []*cobra.Command) {
	for _, q := range []struct{ name, short string }{
		{"config", "Print the whole configuration of the node's Envoy, in JSON; secrets are left out"},
		{"clusters", "Print the clusters of the node's Envoy, with endpoints, their health and load"},
		{"listeners", "Print the listeners of the node's Envoy and where they are"},
		{"stats", "Print the statistics of the node's Envoy that are not zero"},
	} {
		var stateDir, filter string
		example := "  waggle envoy " + q.name + " --node n1"
		if q.name == "stats" {
			example += "\n  waggle envoy stats --filter 'upstream_rq_(5xx|total)$'"
		}
		c := &cobra.Command{
			Use: q.name, Short: q.short, Args: cobra.NoArgs, Example: example,
			RunE: func(c *cobra.Command, _ []string) error {
				answer, err := ask.Open(c.Context(), daemon.Socket(stateDir), "/envoy/ask/"+q.name+"?filter="+url.QueryEscape(filter))
				if err != nil {
					return fmt.Errorf("ask the agent in state directory %s: %w", stateDir, err)
				}
				defer answer.Close()
				_, err = io.Copy(c.OutOrStdout(), answer)
				return err
			},
		}
		if q.name == "stats" {
			c.Flags().StringVar(&filter, "filter", "", "a regular `expression` for names")
		}
		agentFlag(c, &stateDir)
		all = append(all, onNode(c))
	}
	return all
}
