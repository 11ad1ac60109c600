//go:build !noinstall

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/waggle-mesh/waggle/internal/kube/podexec"
	"github.com/waggle-mesh/waggle/internal/survey"
)

// runOn runs a command in the pod of a node's agent, and ends as it did.
func (o *clusterFlags) runOn(c *cobra.Command, node string, command []string) error {
	client, err := o.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context(), asking)
	defer cancel()
	pod, err := survey.AgentOn(ctx, client, o.namespace, node)
	if err != nil {
		return err
	}
	out, err := podexec.Run(ctx, o.options(), pod, survey.AgentContainer, command...)
	if _, failed := c.OutOrStdout().Write(out); failed != nil {
		return failed
	}
	if exit := (*podexec.ExitError)(nil); errors.As(err, &exit) && exit.Code == 1 {
		fmt.Fprintln(c.ErrOrStderr(), exit.Said)
		return errRefused
	}
	return err
}
