package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/waggle-mesh/waggle/internal/cni"
)

// pluginArguments are the command line of a program that the container
// runtime starts as a CNI plugin: it passes none.
func pluginArguments(arguments []string) []string {
	if filepath.Base(arguments[0]) == cni.PluginName {
		return []string{"cni"}
	}
	return arguments[1:]
}

// pluginBinary is the program that an agent installs as the plugin: the small
// one, where it is beside this one. Empty: this one, which is the plugin too.
func pluginBinary() string {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	beside := filepath.Join(filepath.Dir(self), cni.PluginName)
	if file, err := os.Stat(beside); err != nil || !file.Mode().IsRegular() {
		return ""
	}
	return beside
}

func cniCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "cni",
		Short:  "Give a pod its network, for the container runtime",
		Hidden: true,
		Long: `What the container runtime starts for each pod, as CNI plugin ` + cni.PluginName + `: it asks
the agent of this node, over the socket that its configuration names.

Reads CNI_COMMAND (ADD, DEL, CHECK, GC, STATUS, VERSION) and its companions from
the environment and the network configuration from standard input; prints a
result or an error as version 1.1 of the specification has it.

Without an agent ADD fails with code 11, try again later; DEL succeeds and the
agent makes up for it when it is back.

Exit codes: 0 done; 1 an error, which is printed.`,
		Example: `  CNI_COMMAND=VERSION waggle cni
  CNI_COMMAND=STATUS CNI_PATH=/opt/cni/bin waggle cni <<EOF
  {"cniVersion": "1.1.0", "name": "waggle", "type": "waggle-cni", "socket": "/run/waggle/cni.sock"}
  EOF`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if cni.Plugin() != 0 {
				return errRefused
			}
			return nil
		},
	}
}
