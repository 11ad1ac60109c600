//go:build noinstall

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
)

// installer is the program that has the commands which need Helm: linked into
// this one, Helm would cost every process on every node 50 MB.
const installer = "waggle-install"

// runOn has the installer do it, which can run commands in pods.
func (o *clusterFlags) runOn(*cobra.Command, string, []string) error {
	return delegate(os.Args[1], os.Args[2:])
}

// installCommands are the installer's, which is run in this one's place.
func installCommands() (commands []*cobra.Command) {
	for _, c := range []struct{ use, short string }{
		{"install", "Install Waggle in a cluster"},
		{"upgrade", "Upgrade Waggle in a cluster, or give it other values"},
		{"uninstall", "Remove Waggle from a cluster and from its nodes"},
		{"sysdump", "Collect what is needed to understand a fault into one file"},
	} {
		commands = append(commands, &cobra.Command{
			Use: c.use, Short: c.short, DisableFlagParsing: true,
			RunE: func(cmd *cobra.Command, args []string) error { return delegate(cmd.Name(), args) },
		})
	}
	return commands
}

// delegate becomes the installer, which is looked for beside this program and
// then on the PATH. It returns only if that fails.
func delegate(command string, args []string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find %s: %w", installer, err)
	}
	path, err := exec.LookPath(filepath.Join(filepath.Dir(self), installer))
	if err != nil {
		path, err = exec.LookPath(installer)
	}
	if err != nil {
		return fmt.Errorf("%q needs the program %s, which is neither in %s nor on the PATH (\"make build-install\" makes it; images do without)",
			"waggle "+command, installer, filepath.Dir(self))
	}
	return syscall.Exec(path, append([]string{"waggle", command}, args...), os.Environ())
}
