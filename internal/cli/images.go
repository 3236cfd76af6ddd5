package cli

import (
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"porthole/internal/cli/fast"
	"porthole/internal/engine"
)

func (a *app) pull() *cobra.Command {
	var quiet bool
	var platform string
	cmd := &cobra.Command{
		Use:   "pull [flags] IMAGE",
		Short: "fetch an image from a registry",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := a.engine()
			if err != nil {
				return err
			}
			e.Progress = fast.Progress(quiet)
			name, err := e.Pull(cmd.Context(), args[0], platform)
			if err != nil {
				return err
			}
			fmt.Println(name)
			return nil
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "without progress")
	cmd.Flags().StringVar(&platform, "platform", "", "os/arch[/variant] instead of this machine's")
	return cmd
}

func (a *app) load() *cobra.Command {
	var input string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "load [flags]",
		Short: "take in images from an archive that docker save made",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			e, err := a.engine()
			if err != nil {
				return err
			}
			in := os.Stdin
			if input != "" {
				if in, err = os.Open(input); err != nil {
					return err
				}
				defer in.Close()
			} else if fast.IsTerminal(in) {
				return errors.New("no archive: give -i FILE, or the archive on standard input")
			}
			e.Progress = fast.Progress(quiet)
			names, err := e.Load(cmd.Context(), in)
			for _, n := range names {
				fmt.Println("Loaded image:", n)
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&input, "input", "i", "", "read this file instead of standard input")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "without progress")
	return cmd
}

func (a *app) importCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE|- [IMAGE]",
		Short: "make an image of a root filesystem's tar archive",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := a.engine()
			if err != nil {
				return err
			}
			in := os.Stdin
			if args[0] != "-" {
				if in, err = os.Open(args[0]); err != nil {
					return err
				}
				defer in.Close()
			}
			name := ""
			if len(args) == 2 {
				name = args[1]
			}
			id, err := e.Import(cmd.Context(), in, name)
			if err != nil {
				return err
			}
			fmt.Println(id)
			return nil
		},
	}
}

func (a *app) images() *cobra.Command {
	var quiet, noTrunc bool
	cmd := &cobra.Command{
		Use:   "images",
		Short: "list the images that are here",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			e, err := a.engine()
			if err != nil {
				return err
			}
			list, err := e.Images()
			if err != nil {
				return err
			}
			if quiet {
				for _, i := range list {
					fmt.Println(engine.ShortImageID(i.ID, noTrunc))
				}
				return nil
			}
			w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
			fmt.Fprintln(w, "REPOSITORY\tTAG\tIMAGE ID\tCREATED\tSIZE")
			for _, i := range list {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s ago\t%s\n", i.Repository, i.Tag, engine.ShortImageID(i.ID, noTrunc),
					units.HumanDuration(time.Since(i.Created)), units.HumanSizeWithPrecision(float64(i.Size), 3))
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "IDs alone")
	cmd.Flags().BoolVar(&noTrunc, "no-trunc", false, "nothing cut short")
	return cmd
}

func (a *app) rmi() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "rmi [flags] IMAGE…",
		Short: "remove images",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			e, err := a.engine()
			if err != nil {
				return err
			}
			var errs []error
			for _, n := range names {
				lines, err := e.RemoveImage(cmd.Context(), n, force)
				for _, l := range lines {
					fmt.Println(l)
				}
				errs = append(errs, err)
			}
			return errors.Join(errs...)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "also where stopped containers were made from it")
	return cmd
}
