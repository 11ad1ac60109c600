//go:build !noinstall

package main

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/spf13/cobra"

	"github.com/waggle-mesh/waggle/chart"
	agent "github.com/waggle-mesh/waggle/internal/agent/daemon"
	"github.com/waggle-mesh/waggle/internal/install"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/model"
	operator "github.com/waggle-mesh/waggle/internal/operator/daemon"
	"github.com/waggle-mesh/waggle/internal/survey"
)

// uninstallFlags say how much is to go.
type uninstallFlags struct {
	installFlags
	keepNodes, purge bool
}

func uninstallCommand() *cobra.Command {
	var o uninstallFlags
	c := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove Waggle from a cluster and from its nodes",
		Long: `Uninstalls the Helm release; removes from every node what the agents have made there:
programs, maps, routes, rules, pods' devices, the CNI plugin, changes of sysctls; and
deletes the objects that operators and agents have made, copies of Secrets too. Pods lose their network
until another plugin gives them one.

Users' objects stay, and so do the kinds of those: Gateways and routes with their
statuses, CiliumEnvoyConfigs, address pools; and Secrets, with their namespace. With --purge Waggle's own kinds go, with
all of their objects.

Exit codes: 0 nothing else is left; 2 something is, for the reason it gives. It may be
run again.`,
		Example: "  waggle uninstall\n  waggle uninstall --purge",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return o.run(c) },
	}
	o.add(c)
	c.Flags().BoolVar(&o.keepNodes, "keep-nodes", false, "leave on the nodes what the agents have made: pods keep their network")
	c.Flags().BoolVar(&o.purge, "purge", false, "delete users' objects of Waggle's kinds, too")
	return c
}

func (o *uninstallFlags) run(c *cobra.Command) error {
	ctx, _ := interrupts(c.Context())
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	client, err := o.connect(ctx, c)
	if err != nil {
		return err
	}
	release, err := install.Open(o.Options)
	if err != nil {
		return err
	}
	agents, err := kube.Get(ctx, client, kube.DaemonSets, model.Name{Namespace: o.Namespace, Name: survey.Agents})
	if errors.Is(err, kube.ErrNotFound) {
		agents = nil
	} else if err != nil {
		return err
	}
	fmt.Fprintf(c.OutOrStdout(), "Uninstalling release %s ...\n", o.Release)
	err = release.Uninstall()
	if errors.Is(err, install.ErrNotInstalled) {
		if err = notOthers(agents, o.Release); err == nil {
			fmt.Fprintln(c.OutOrStdout(), "There is none.")
		}
	}
	if err != nil {
		return err
	}
	return errors.Join(o.cleanNodes(ctx, c, client, agents), o.forget(ctx, c, client))
}

// notOthers is an error where agents are there that are not of a release that is
// not there: what they have made is in use.
func notOthers(agents *appsv1.DaemonSet, release string) error {
	if agents == nil || agents.DeletionTimestamp != nil {
		return nil
	}
	who := fmt.Sprintf("there is no release %s, but DaemonSet %s/%s", release, agents.Namespace, agents.Name)
	if by := agents.Annotations["meta.helm.sh/release-name"]; by != "" {
		return fmt.Errorf("%s of release %s: use --release %s", who, by, by)
	}
	return fmt.Errorf("%s, which is of no release of Helm's: delete it first, and what came with it", who)
}

// cleanNodes removes what agents have left on nodes.
func (o *uninstallFlags) cleanNodes(ctx context.Context, c *cobra.Command, client *kube.Client, agents *appsv1.DaemonSet) error {
	if o.keepNodes {
		return nil
	}
	if agents == nil {
		fmt.Fprintf(c.OutOrStdout(), "No DaemonSet %s/%s says which nodes to clean: run `waggle cleanup` on those that are not.\n", o.Namespace, survey.Agents)
		return nil
	}
	err := install.CleanNodes(ctx, client, agents, func(done, all int32) {
		fmt.Fprintf(c.OutOrStdout(), "Cleaning nodes: %d of %d\n", done, all)
	})
	if err != nil {
		return fmt.Errorf("clean the nodes: %w", err)
	}
	return nil
}

// forget deletes objects that agents and operators have made, then the kinds of
// which no object is left.
func (o *uninstallFlags) forget(ctx context.Context, c *cobra.Command, client *kube.Client) error {
	fmt.Fprintln(c.OutOrStdout(), "Deleting what was made for Gateways and pods ...")
	errs := []error{operator.Forget(ctx, client, o.Namespace)}
	if !o.keepNodes {
		errs = append(errs, agent.Forget(ctx, client))
	}
	errs = append(errs, install.DeleteNamespaces(ctx, client, o.Release, o.Namespace, func(name string, secrets int) {
		fmt.Fprintf(c.OutOrStdout(), "Left: namespace %s, for it has %d Secrets that are yours\n", name, secrets)
	}))
	definitions, err := install.Definitions(chart.Waggle, "waggle")
	errs = append(errs, err)
	for _, d := range definitions {
		left, err := client.Count(ctx, d)
		switch {
		case err != nil:
			errs = append(errs, err)
		case left > 0 && !o.purge:
			fmt.Fprintf(c.OutOrStdout(), "Left: %d %s, for they are yours (--purge deletes them)\n", left, d.Name())
		default:
			errs = append(errs, client.DeleteDefinition(ctx, d))
		}
	}
	return errors.Join(errs...)
}
