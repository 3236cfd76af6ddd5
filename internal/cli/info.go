package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"porthole/internal/host/probe"
)

func (a *app) info() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "info",
		Short: "say what this machine offers, what it lacks, and what porthole can't do for want of it",
		Args:  wants(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := probe.Deep()
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(f)
			}
			fmt.Print(f)
			fmt.Printf("porthole     %s, images and containers in %s\n", version, a.root)
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, for programs")
	return cmd
}

func (a *app) versionCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "say which porthole this is",
		Args:  wants(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Printf("porthole %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}
