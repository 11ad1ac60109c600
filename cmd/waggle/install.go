//go:build !noinstall

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/waggle-mesh/waggle/chart"
	"github.com/waggle-mesh/waggle/internal/install"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/survey"
)

// installCommands change what is installed in a cluster, or look at all of it.
func installCommands() []*cobra.Command {
	return []*cobra.Command{installCommand(), upgradeCommand(), uninstallCommand(), sysdumpCommand()}
}

// installFlags are those of install, upgrade and uninstall.
type installFlags struct {
	cluster clusterFlags
	install.Options
	wait, dryRun, restart bool
	level                 string
}

func (o *installFlags) add(c *cobra.Command) {
	f := c.Flags()
	o.cluster.add(f)
	f.StringVar(&o.Release, "release", "waggle", "Helm's `name` for what is installed")
	f.DurationVar(&o.Timeout, "timeout", 10*time.Minute, "how long to wait at most")
	f.StringVar(&o.level, "log-level", "warn", "of Helm: debug, info, warn or error")
}

func (o *installFlags) addValues(c *cobra.Command) {
	f := c.Flags()
	f.StringArrayVarP(&o.Values.Files, "values", "f", nil, "`file` with values")
	f.StringArrayVar(&o.Values.Set, "set", nil, "values, as `key=value`,…")
	f.StringArrayVar(&o.Values.SetString, "set-string", nil, "values that are text, as `key=value`,…")
	f.BoolVar(&o.wait, "wait", true, "wait until all of it is ready")
	f.BoolVar(&o.dryRun, "dry-run", false, "print the objects and change nothing")
}

func installCommand() *cobra.Command {
	var o installFlags
	c := &cobra.Command{
		Use:   "install",
		Short: "Install Waggle in a cluster",
		Long: `Installs the Helm chart that this program carries, and waits until agents, Envoys and
operators are ready. Values have the names of Cilium's chart, and its defaults but for
some; what of Cilium's Waggle does not have is refused. Helm can go on with the release,
too.

What is not given is found: k8sServiceHost, where the cluster has one API server, and
operator.replicas=1, where it has one node. A cluster in which Cilium runs is refused.

Exit codes: 0 all is ready; 2 it is not, for the reason it gives.`,
		Example: `  waggle install --set gatewayAPI.enabled=true
  waggle install -f values.yaml --set k8sServiceHost=10.0.0.1
  waggle install --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return o.change(c, (*install.Release).Install)
		},
	}
	o.add(c)
	o.addValues(c)
	return c
}

func upgradeCommand() *cobra.Command {
	var o installFlags
	var orInstall bool
	c := &cobra.Command{
		Use:   "upgrade",
		Short: "Upgrade Waggle in a cluster, or give it other values",
		Long: `Upgrades what is installed to the Helm chart that this program carries, and waits
until all is ready. Values that are not given stay as they are. Agents, Envoys and
operators are replaced one after the other, also where nothing but their settings has
changed; connections and requests go on.

Exit codes: 0 all is ready; 2 it is not, for the reason it gives.`,
		Example: `  waggle upgrade --set envoyConfig.enabled=true
  waggle upgrade --install -f values.yaml`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return o.change(c, func(r *install.Release, ctx context.Context, chart *install.Chart) error {
				there, err := r.Exists()
				if err != nil {
					return err
				}
				if !there && orInstall {
					return r.Install(ctx, chart)
				}
				return r.Upgrade(ctx, chart)
			})
		},
	}
	o.add(c)
	o.addValues(c)
	c.Flags().BoolVarP(&orInstall, "install", "i", false, "install it, if it is not there")
	c.Flags().BoolVar(&o.restart, "restart", true, "restart agents and operators whose settings have changed, which they read when they begin")
	return c
}

// change installs or upgrades.
func (o *installFlags) change(c *cobra.Command, do func(*install.Release, context.Context, *install.Chart) error) error {
	ctx, _ := interrupts(c.Context())
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	client, err := o.connect(ctx, c)
	if err != nil {
		return err
	}
	before, err := survey.ReadingOf(ctx, client, o.Namespace)
	if err != nil {
		return err
	}
	r, err := o.open(ctx, c, client)
	if err != nil {
		return err
	}
	waggle, err := install.Load(chart.Waggle, "waggle")
	if err != nil {
		return err
	}
	if err := do(r, ctx, waggle); err != nil || o.dryRun {
		return err
	}
	if o.restart {
		restarted, err := survey.RestartOutdated(ctx, client, o.Namespace, before)
		if err != nil {
			return err
		}
		for _, name := range restarted {
			fmt.Fprintf(c.OutOrStdout(), "%s begins again: its settings have changed\n", name)
		}
	}
	if !o.wait {
		return nil
	}
	return awaitWorkloads(ctx, c.OutOrStdout(), client, o.Namespace)
}

// open finds the release, and the values that suit the cluster.
func (o *installFlags) open(ctx context.Context, c *cobra.Command, client *kube.Client) (r *install.Release, err error) {
	if o.Values.Found, err = suit(ctx, client); err != nil {
		return nil, err
	}
	if o.Notes = c.OutOrStdout(); o.dryRun {
		o.DryRun = c.OutOrStdout()
	}
	if r, err = install.Open(o.Options); err != nil {
		return nil, err
	}
	reachable, err := r.Says("k8sServiceHost")
	if err == nil && !reachable {
		fmt.Fprint(c.ErrOrStderr(), unreachable)
	}
	return r, err
}

// connect reaches the cluster, if it is one to install in.
func (o *installFlags) connect(ctx context.Context, c *cobra.Command) (*kube.Client, error) {
	log, err := logger(c, o.level)
	if err != nil {
		return nil, err
	}
	o.Log, o.Kubeconfig, o.Context, o.Namespace = log, o.cluster.kubeconfig, o.cluster.context, o.cluster.namespace
	client, err := o.cluster.connect()
	if err != nil {
		return nil, err
	}
	if err := survey.RefuseCilium(ctx, client); err != nil {
		return nil, err
	}
	return client, nil
}

// suit finds the values that suit the cluster.
func suit(ctx context.Context, client *kube.Client) (found []install.Found, err error) {
	servers, err := survey.APIServers(ctx, client)
	if err != nil {
		return nil, err
	}
	if len(servers) == 1 {
		found = append(found, install.Found{Name: "k8sServiceHost", Values: map[string]any{
			"k8sServiceHost": servers[0].Addr().String(), "k8sServicePort": fmt.Sprint(servers[0].Port()),
		}})
	}
	single, err := survey.IsSingleNode(ctx, client)
	if single { // which has room for one operator alone
		found = append(found, install.Found{Name: "operator.replicas", Values: map[string]any{"operator": map[string]any{"replicas": 1}}})
	}
	return found, err
}

// unreachable says what agents would wait for in vain.
const unreachable = `The cluster has no API server, or several, and no value says how agents reach one
without Services: set k8sServiceHost (and k8sServicePort) to what leads to all of
them, unless something else translates Services on its nodes.
`

// awaitWorkloads prints how the workloads come up until they are.
func awaitWorkloads(ctx context.Context, out io.Writer, client *kube.Client, namespace string) error {
	told := map[string]string{}
	for {
		all, err := survey.Workloads(ctx, client, namespace)
		complete := err == nil && len(all) > 0
		for _, w := range all {
			complete = complete && w.Complete()
			if line := w.String(); told[w.Name] != line {
				fmt.Fprintln(out, line)
				told[w.Name] = line
			}
		}
		if complete {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("wait for Waggle's workloads: %w (see `waggle status` and `kubectl -n %s get pods`)", context.Cause(ctx), namespace), err)
		case <-time.After(500 * time.Millisecond):
		}
	}
}
