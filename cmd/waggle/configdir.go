package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// unread are settings that the chart writes, under Cilium's names, for people
// and for programs that look for them there. No command reads them, as their
// value is the only possible one, or for the reason that is given.
var unread = map[string]string{
	"debug":                           "log-level says it",
	"enable-gateway-api-secrets-sync": "",
	"envoy-secrets-namespace":         "",
	"external-envoy-proxy":            "the agent takes whatever Envoy comes",
	"ipam":                            "",
	"kube-proxy-replacement":          "",
	"routing-mode":                    "",
}

// configDir gives c the flag --config-dir: a directory with a file for each
// flag, as a mounted ConfigMap is. Flags of the command line win. A name that is
// a flag of no command is warned of.
func configDir(c *cobra.Command) *cobra.Command {
	dir := c.Flags().String("config-dir", "", "`directory` with a file for each flag that is not given, such as a mounted ConfigMap cilium-config")
	check := c.PreRunE
	c.PreRunE = func(c *cobra.Command, args []string) error {
		if err := readConfigDir(c, *dir); err != nil || check == nil {
			return err
		}
		return check(c, args)
	}
	return c
}

func readConfigDir(c *cobra.Command, dir string) error {
	if dir == "" {
		return nil
	}
	values, err := readSettings(dir)
	if err != nil {
		return fmt.Errorf("read --config-dir: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		flag := c.Flags().Lookup(name)
		_, silent := unread[name]
		if flag == nil && !silent && !isSetting(name) {
			fmt.Fprintf(c.ErrOrStderr(), "waggle: setting %s in %s has no effect: no command has such a flag\n", name, dir)
		}
		if flag == nil || flag.Changed || name == "config-dir" {
			continue
		}
		if err := flag.Value.Set(values[name]); err != nil {
			return fmt.Errorf("setting %s in %s: %w", name, dir, err)
		}
	}
	return nil
}

// settings are the flags of the commands that ConfigMap cilium-config is for.
func settings() []*pflag.FlagSet {
	return []*pflag.FlagSet{agentCommand().Flags(), operatorCommand().Flags()}
}

// isSetting tells whether one of the commands has such a flag.
func isSetting(name string) bool {
	return slices.ContainsFunc(settings(), func(f *pflag.FlagSet) bool { return f.Lookup(name) != nil })
}
