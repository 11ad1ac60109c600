package main

import (
	"bytes"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/waggle-mesh/waggle/internal/cli"
	"github.com/waggle-mesh/waggle/internal/standalone"
)

func analyzeCommand() *cobra.Command {
	var format cli.Format
	var o standalone.GraphOptions
	var all bool
	c := &cobra.Command{
		Use:   "analyze PATH...",
		Short: "Say what is wrong with manifests, without serving them",
		Long: `Reads every *.yaml, *.yml and *.json below PATH and judges the objects in them as
a cluster would. Prints each object's conditions and a summary. What only a running
mesh can tell is left out: which address a Gateway is given, and whether Envoy
serves it.

Exit codes: 0 everything would be served as written; 1 something is refused or
refers to nothing; 2 PATH cannot be read.`,
		Example: `  waggle analyze examples/canary
  waggle analyze manifests/ -o json | jq '.conditions[] | select(.good | not)'`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkPortOffset(o.PortOffset); err != nil {
				return err
			}
			report, err := standalone.Analyze(args, o)
			if err != nil {
				return err
			}
			if err := cli.PrintReport(c.OutOrStdout(), report, format, all); err != nil {
				return err
			}
			if !report.OK() {
				return errRefused
			}
			return nil
		},
	}
	c.Flags().VarP(&format, "output", "o", "table, json or yaml")
	c.Flags().BoolVar(&all, "all", true, "also the conditions that are as they should be")
	c.Flags().IntVar(&o.PortOffset, "port-offset", 0, "judge as \"waggle run\" with this offset does")
	return c
}

// statusFlags say what to ask, and how to print.
type statusFlags struct {
	cluster      clusterFlags
	format       cli.Format
	stateDir     string
	quiet, wait  bool
	waitDuration time.Duration
}

func statusCommand() *cobra.Command {
	var o statusFlags
	c := &cobra.Command{
		Use:   "status",
		Short: "Show how the mesh does: of the cluster, a node, the operator, or a running \"waggle run\"",
		Long: `Of a cluster, where a kubeconfig leads to one: workloads, pods, Gateways, and users'
objects that are not served as they are written.

In an agent's pod: the agent, what it reads from the API server, what the kernel or the
API server refuses, and Services' fields that have no effect.

In an operator's pod: whether it leads, what it reads from the API server, and what
that refuses.

Of a "waggle run": listeners and where they answer, routes, backends with the
health that Envoy sees, and what Envoy has acknowledged or rejected.

Exit codes: 0 all is well; 1 something is not, of a cluster something of Waggle's own;
2 nothing runs.`,
		Example: `  waggle status
  waggle status --wait
  waggle status -o json | jq .rejected`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !o.wait {
				return o.print(c)
			}
			return o.await(c)
		},
	}
	f := c.Flags()
	f.VarP(&o.format, "output", "o", "table, json or yaml")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "of an agent, ask only whether pods can start, and print nothing if they can")
	f.StringVar(&o.stateDir, "state-dir", defaultStateDir(), "`directory` of the agent or \"waggle run\" to ask")
	f.BoolVar(&o.wait, "wait", false, "wait until all is well")
	f.DurationVar(&o.waitDuration, "wait-duration", 5*time.Minute, "how long to wait at most, with --wait")
	o.cluster.add(f)
	return c
}

// await asks until all is well, and prints the last answer.
func (o *statusFlags) await(c *cobra.Command) error {
	var answer bytes.Buffer
	out := c.OutOrStdout()
	c.SetOut(&answer)
	for end := time.Now().Add(o.waitDuration); ; time.Sleep(time.Second) {
		answer.Reset()
		err := o.print(c)
		if err != nil && time.Now().Before(end) {
			continue
		}
		if _, failed := answer.WriteTo(out); failed != nil {
			return failed
		}
		return err
	}
}

// print asks the first that is there: an agent, an operator, a "waggle run", the
// cluster.
func (o *statusFlags) print(c *cobra.Command) error {
	if o.cluster.kubeconfig != "" || o.cluster.context != "" {
		return o.cluster.printStatus(c, o.format)
	}
	if there, err := printAgentStatus(c, agentDir(c, o.stateDir), o.quiet, o.format); there {
		return err
	}
	if there, err := printOperatorStatus(c, agentDir(c, o.stateDir), o.quiet, o.format); there {
		return err
	}
	s, err := standalone.AskStatus(c.Context(), o.stateDir)
	if err != nil && o.cluster.given() && !c.Flags().Changed("state-dir") {
		return o.cluster.printStatus(c, o.format)
	}
	if err != nil {
		return fmt.Errorf("%w (start one with `waggle run DIR`, or name a cluster with --kubeconfig)", err)
	}
	if err := cli.PrintStatus(c.OutOrStdout(), s, o.format); err != nil {
		return err
	}
	if !s.OK() {
		return errRefused
	}
	return nil
}

// agentDir is where an agent may be to be asked: where the user says, or its
// own place.
func agentDir(c *cobra.Command, stateDir string) string {
	if c.Flags().Changed("state-dir") {
		return stateDir
	}
	return agentStateDir
}
