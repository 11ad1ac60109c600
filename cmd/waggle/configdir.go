package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// configDir gives c the flag --config-dir: a directory with a file for each
// flag, as a mounted ConfigMap is. Flags of the command line win. Names that
// are no flags of c are another command's.
func configDir(c *cobra.Command) *cobra.Command {
	dir := c.Flags().String("config-dir", "", "`directory` with a file for each flag that is not given, such as a mounted ConfigMap cilium-config")
	run := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := readConfigDir(c, *dir); err != nil {
			return err
		}
		return run(c, args)
	}
	return c
}

func readConfigDir(c *cobra.Command, dir string) error {
	if dir == "" {
		return nil
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read --config-dir: %w", err)
	}
	for _, file := range files {
		flag := c.Flags().Lookup(file.Name())
		if flag == nil || flag.Changed || file.Name() == "config-dir" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, file.Name()))
		if err != nil {
			return fmt.Errorf("read --config-dir: %w", err)
		}
		if err := flag.Value.Set(strings.TrimSpace(string(text))); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(dir, file.Name()), err)
		}
	}
	return nil
}
