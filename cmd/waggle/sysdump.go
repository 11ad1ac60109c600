//go:build !noinstall

package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/waggle-mesh/waggle/internal/kube/podexec"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/sysdump"
)

func sysdumpCommand() *cobra.Command {
	var o clusterFlags
	var file string
	var lines int
	c := &cobra.Command{
		Use:   "sysdump",
		Short: "Collect what is needed to understand a fault into one file",
		Long: `Writes a zip archive with the objects that Waggle reads and writes, the logs of its
pods, and what agents and operators say of themselves. Values of Secrets, private keys,
environments of containers and values of headers that let somebody in (authorization,
cookie) are left out. What could not be had stands in missing.txt.

Exit codes: 0 it is written; 2 it is not.`,
		Example: "  waggle sysdump\n  waggle sysdump -o fault.zip --log-lines 100000",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, _ := interrupts(c.Context())
			client, err := o.connectToOurs(ctx)
			if err != nil {
				return err
			}
			out, err := os.OpenFile(file, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
			if err != nil {
				return fmt.Errorf("write archive: %w", err)
			}
			defer out.Close()
			err = sysdump.Write(ctx, client, out, sysdump.Options{
				Namespace: o.namespace, LogLines: lines,
				Exec: func(ctx context.Context, pod model.Name, container string, command ...string) ([]byte, error) {
					return podexec.Run(ctx, o.options(), pod, container, command...)
				},
				Tell: func(what string) { fmt.Fprintln(c.ErrOrStderr(), "collecting", what) },
			})
			if err != nil {
				return fmt.Errorf("write archive %s: %w", file, err)
			}
			fmt.Fprintln(c.OutOrStdout(), file)
			return out.Close()
		},
	}
	o.add(c.Flags())
	c.Flags().StringVarP(&file, "output", "o", "waggle-sysdump-"+time.Now().Format("20060102-150405")+".zip", "`file` to write")
	c.Flags().IntVar(&lines, "log-lines", 10000, "the last `lines` of each log")
	return c
}
