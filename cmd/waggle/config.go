package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waggle-mesh/waggle/internal/cli"
	"github.com/waggle-mesh/waggle/internal/survey"
)

// mountedConfig is where a pod of Waggle's has ConfigMap cilium-config.
const mountedConfig = "/tmp/cilium/config-map"

func configViewCommand() *cobra.Command {
	var o clusterFlags
	var format cli.Format
	c := &cobra.Command{
		Use:   "view",
		Short: "Print the settings in ConfigMap cilium-config",
		Long: `Prints what agents, Envoys and operators are told, each setting under its flag's name.
In a pod of Waggle's that is what the pod was given.

Exit codes: 0; 2 it cannot be read.`,
		Example: "  waggle config view\n  waggle config view -o json | jq -r '.\"enable-gateway-api\"'",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			values, err := o.config(c)
			if err != nil {
				return err
			}
			return cli.PrintConfig(c.OutOrStdout(), values, format)
		},
	}
	o.add(c.Flags())
	c.Flags().VarP(&format, "output", "o", "table, json or yaml")
	return c
}

// config is the mounted one, if there is one, or the cluster's.
func (o *clusterFlags) config(c *cobra.Command) (map[string]string, error) {
	if _, err := os.Stat(mountedConfig); err == nil && o.kubeconfig == "" {
		return readSettings(mountedConfig)
	}
	ctx, cancel := context.WithTimeout(c.Context(), asking)
	defer cancel()
	client, err := o.connectToOurs(ctx)
	if err != nil {
		return nil, err
	}
	return survey.ReadConfig(ctx, client, o.namespace)
}

// readSettings reads a directory with a file for each setting, as a mounted
// ConfigMap is.
func readSettings(dir string) (map[string]string, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	values := map[string]string{}
	for _, file := range files {
		if strings.HasPrefix(file.Name(), ".") { // the kubelet's own
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, file.Name()))
		if err != nil {
			return nil, fmt.Errorf("read settings: %w", err)
		}
		values[file.Name()] = strings.TrimSpace(string(text))
	}
	return values, nil
}

func configSetCommand() *cobra.Command {
	var o clusterFlags
	var restart bool
	c := &cobra.Command{
		Use:   "set NAME=VALUE... | NAME VALUE",
		Short: "Change settings in ConfigMap cilium-config",
		Long: `Changes settings, and has agents and operators begin again, a few at a time:
connections and requests go on. "NAME=" removes one. NAME must be a flag of "waggle
agent" or "waggle operator"; VALUE is tried before anything is changed.

Helm does not know of it: the next "waggle upgrade" sets what the values say. For good:
waggle upgrade --set extraConfig.NAME=VALUE. What needs rights or workloads besides, such
as enable-gateway-api, is refused here.

Exit codes: 0; 2 nothing, or not all, is done, for the reason it gives.`,
		Example: "  waggle config set log-level=debug\n  waggle config set log-level= --restart=false",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			values, err := readAssignments(args)
			if err != nil {
				return err
			}
			return o.setConfig(c, values, restart)
		},
	}
	o.add(c.Flags())
	c.Flags().BoolVar(&restart, "restart", true, "restart agents and operators, who read it when they begin")
	return c
}

// readAssignments reads NAME=VALUE..., or as Cilium's program has it NAME VALUE.
// Nil is a setting that goes.
func readAssignments(args []string) (map[string]*string, error) {
	if len(args) == 2 && !strings.Contains(args[0], "=") {
		args = []string{args[0] + "=" + args[1]}
	}
	values := map[string]*string{}
	for _, arg := range args {
		name, value, found := strings.Cut(arg, "=")
		if !found {
			return nil, fmt.Errorf("%q is not NAME=VALUE", arg)
		}
		if chart, ok := chartValues[name]; ok {
			return nil, fmt.Errorf("%s: rights and workloads follow from it, which this would leave as they are; use `waggle upgrade --set %s=%s`", name, chart, value)
		}
		if err := checkSetting(name, value); err != nil {
			return nil, err
		}
		if values[name] = &value; value == "" {
			values[name] = nil
		}
	}
	return values, nil
}

func (o *clusterFlags) setConfig(c *cobra.Command, values map[string]*string, restart bool) error {
	client, err := o.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context(), asking)
	defer cancel()
	if err := survey.RefuseCilium(ctx, client); err != nil {
		return err
	}
	all, err := survey.ReadConfig(ctx, client, o.namespace)
	if err != nil {
		return err
	}
	if err := checkTogether(all, values); err != nil {
		return err
	}
	if err := survey.WriteConfig(ctx, client, o.namespace, values); err != nil {
		return err
	}
	fmt.Fprintln(c.OutOrStdout(), "ConfigMap cilium-config is changed.")
	if !restart {
		return nil
	}
	if err := survey.Restart(ctx, client, o.namespace); err != nil {
		return err
	}
	fmt.Fprintln(c.OutOrStdout(), "Agents and operators begin again; see `waggle status --wait`.")
	return nil
}

// checkSetting refuses what no agent and no operator would take.
func checkSetting(name, value string) error {
	if !isSetting(name) {
		return fmt.Errorf("%q is no flag of `waggle agent` or `waggle operator`", name)
	}
	for _, flags := range settings() {
		if flag := flags.Lookup(name); flag != nil && value != "" {
			if err := flag.Value.Set(value); err != nil {
				return fmt.Errorf("%s=%s: %w", name, value, err)
			}
		}
	}
	if choices, ok := chosen[name]; ok && value != "" && !slices.Contains(choices, value) {
		return fmt.Errorf("%s=%s: must be one of %s", name, value, strings.Join(choices, ", "))
	}
	return nil
}

// checkTogether refuses changes of settings after which a command would not begin,
// though it takes each setting by itself.
func checkTogether(all map[string]string, changes map[string]*string) error {
	after := maps.Clone(all)
	for name, value := range changes {
		if delete(after, name); value != nil {
			after[name] = *value
		}
	}
	for _, c := range []*cobra.Command{agentCommand(), operatorCommand()} {
		for _, name := range slices.Sorted(maps.Keys(after)) {
			if flag := c.Flags().Lookup(name); flag != nil {
				if err := flag.Value.Set(after[name]); err != nil {
					return fmt.Errorf("%s=%s: %w", name, after[name], err)
				}
			}
		}
		if c.PreRunE == nil {
			continue
		}
		if err := c.PreRunE(c, nil); err != nil {
			return fmt.Errorf("with this `waggle %s` would not begin: %w", c.Name(), err)
		}
	}
	return nil
}

// chartValues are the chart's values of settings from which more of its objects
// follow than the ConfigMap.
var chartValues = map[string]string{
	"enable-envoy-config":           "envoyConfig.enabled",
	"enable-gateway-api":            "gatewayAPI.enabled",
	"enable-l2-announcements":       "l2announcements.enabled",
	"enable-l7-proxy":               "l7Proxy",
	"enable-lb-ipam":                "enableLBIPAM",
	"gateway-api-secrets-namespace": "gatewayAPI.secretsNamespace.name",
}

// chosen are the values of flags that take any text and are refused only when
// the command begins.
var chosen = map[string][]string{
	"log-level": {"debug", "info", "warn", "error"},
	"gateway-api-service-externaltrafficpolicy": {"Cluster", "Local"},
	"default-lb-service-ipam":                   {"lbipam", "none"},
}
