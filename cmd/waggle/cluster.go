package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/waggle-mesh/waggle/internal/cli"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/survey"
)

// clusterCommands look at a cluster from outside.
func clusterCommands() []*cobra.Command {
	gateways := group("gateway", "Gateways of the cluster", "  waggle gateway list\n  waggle gateway show default/web")
	gateways.AddCommand(gatewayListCommand(), gatewayShowCommand())
	config := group("config", "Settings of agents, Envoys and operators", "  waggle config view")
	config.AddCommand(configViewCommand(), configSetCommand())
	return []*cobra.Command{gateways, config}
}

// clusterFlags say which cluster, and where in it Waggle is.
type clusterFlags struct{ kubeconfig, context, namespace string }

func (o *clusterFlags) add(f *pflag.FlagSet) {
	o.addCluster(f)
	f.StringVarP(&o.namespace, "namespace", "n", "kube-system", "`namespace` of Waggle's own")
}

// addCluster leaves out where in the cluster.
func (o *clusterFlags) addCluster(f *pflag.FlagSet) {
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "`file` that says how to reach the cluster (default: as kubectl finds it)")
	f.StringVar(&o.context, "context", "", "`name` of the kubeconfig's context")
}

// connect asks as whoever runs the program.
func (o *clusterFlags) connect() (*kube.Client, error) {
	client, err := kube.Connect(o.options(), slog.New(slog.DiscardHandler))
	if err != nil && o.kubeconfig == "" && !o.given() {
		return nil, errors.New("which cluster? Say --kubeconfig or set KUBECONFIG: there is no ~/.kube/config, and this is no pod")
	}
	return client, err
}

// connectToOurs is connect for commands that change nothing. What Cilium has made
// is not shown as Waggle's, as far as it may be known.
func (o *clusterFlags) connectToOurs(ctx context.Context) (*kube.Client, error) {
	client, err := o.connect()
	if err != nil {
		return nil, err
	}
	if err := survey.RefuseCilium(ctx, client); err != nil && !apierrors.IsForbidden(err) {
		return nil, err
	}
	return client, nil
}

// options are those of the cluster's API server.
func (o *clusterFlags) options() kube.Options {
	return kube.Options{Kubeconfig: o.kubeconfig, Context: o.context, UserAgent: "waggle/" + version, User: true}
}

// given tells whether there is a cluster to ask, as kubectl finds it.
func (o *clusterFlags) given() bool {
	if os.Getenv("KUBECONFIG") != "" {
		return true
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return false
	}
	_, err = os.Stat(filepath.Join(home, ".kube", "config"))
	return err == nil
}

// asking limits how long an API server that does not answer is waited for.
const asking = 30 * time.Second

// printStatus is `waggle status` of a cluster.
func (o *clusterFlags) printStatus(c *cobra.Command, format cli.Format) error {
	client, err := o.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context(), asking)
	defer cancel()
	s := survey.Look(ctx, client, o.namespace)
	if err := cli.PrintClusterStatus(c.OutOrStdout(), s, format); err != nil {
		return err
	}
	if !s.OK() {
		return errRefused
	}
	return nil
}

func gatewayListCommand() *cobra.Command {
	var o clusterFlags
	var format cli.Format
	c := &cobra.Command{
		Use:   "list",
		Short: "List the Gateways that Waggle serves",
		Long: `Lists Gateways with their addresses, how many routes they have, and how many of the
Ready nodes' Envoys have answered their newest version.

Exit codes: 0; 2 the cluster cannot be read.`,
		Example: "  waggle gateway list\n  waggle gateway list -n shop -o json | jq '.[] | select(.programmed | not)'",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			all, err := o.gateways(c, model.Name{Namespace: o.namespace})
			if err != nil {
				return err
			}
			return cli.PrintGateways(c.OutOrStdout(), all, format)
		},
	}
	o.addCluster(c.Flags())
	c.Flags().StringVarP(&o.namespace, "namespace", "n", "", "`namespace` of the Gateways (default: all)")
	c.Flags().VarP(&format, "output", "o", "table, json or yaml")
	return c
}

func gatewayShowCommand() *cobra.Command {
	var o clusterFlags
	var format cli.Format
	c := &cobra.Command{
		Use:   "show [NAMESPACE/]NAME",
		Short: "Show a Gateway: listeners, routes, what each node's Envoy has answered",
		Long: `Shows what became of a Gateway. Without NAMESPACE it is that of --namespace.

Exit codes: 0 it is served; 1 it is not, or something of it; 2 there is no such
Gateway of a class of Waggle's.`,
		Example: "  waggle gateway show web\n  waggle gateway show infrastructure/platform -o json | jq .nodes",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			namespace, name, found := strings.Cut(args[0], "/")
			if !found {
				namespace, name = o.namespace, args[0]
			}
			all, err := o.gateways(c, model.Name{Namespace: namespace, Name: name})
			if err != nil {
				return err
			}
			if len(all) == 0 {
				return fmt.Errorf("there is no Gateway %s/%s of a class with controller %s", namespace, name, survey.Controller)
			}
			if err := cli.PrintGateway(c.OutOrStdout(), &all[0], format); err != nil {
				return err
			}
			if !all[0].Programmed || len(all[0].Problems) > 0 {
				return errRefused
			}
			return nil
		},
	}
	o.addCluster(c.Flags())
	c.Flags().StringVarP(&o.namespace, "namespace", "n", "default", "`namespace` of the Gateway")
	c.Flags().VarP(&format, "output", "o", "table, json or yaml")
	return c
}

func (o *clusterFlags) gateways(c *cobra.Command, only model.Name) ([]survey.Gateway, error) {
	ctx, cancel := context.WithTimeout(c.Context(), asking)
	defer cancel()
	client, err := o.connectToOurs(ctx)
	if err != nil {
		return nil, err
	}
	return survey.FindGateways(ctx, client, only)
}
