//go:build noinstall

package main

import "github.com/spf13/cobra"

// installCommands are left out of the program that runs on nodes.
func installCommands() []*cobra.Command { return nil }
