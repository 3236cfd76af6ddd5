package cli

import (
	"context"
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
	cmd := a.onEngine("pull [flags] IMAGE", "fetch an image from a registry", wants(1, 1),
		func(ctx context.Context, e *engine.Engine, args []string) error {
			e.Progress = fast.Progress(quiet)
			name, err := e.Pull(ctx, args[0], platform)
			if err != nil {
				return err
			}
			fmt.Println(name)
			return nil
		})
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "show no progress")
	cmd.Flags().StringVar(&platform, "platform", "", "which `platform` of the image: os/arch[/variant] (default: this machine's)")
	return cmd
}

func (a *app) load() *cobra.Command {
	var input string
	var quiet bool
	cmd := a.onEngine("load [flags]", "take in images from an archive that docker save made", wants(0, 0),
		func(ctx context.Context, e *engine.Engine, _ []string) error {
			in := os.Stdin
			if input != "" {
				file, err := os.Open(input)
				if err != nil {
					return err
				}
				defer file.Close()
				in = file
			} else if fast.IsTerminal(in) {
				return errors.New("no archive: give -i FILE, or the archive on standard input")
			}
			e.Progress = fast.Progress(quiet)
			names, err := e.Load(ctx, in)
			for _, n := range names {
				fmt.Println("Loaded image:", n)
			}
			return err
		})
	cmd.Flags().StringVarP(&input, "input", "i", "", "read this `file` instead of standard input")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "show no progress")
	return cmd
}

func (a *app) importCmd() *cobra.Command {
	return a.onEngine("import FILE|- [IMAGE]", "make an image of a root filesystem's tar archive", wants(1, 2),
		func(ctx context.Context, e *engine.Engine, args []string) error {
			in := os.Stdin
			if args[0] != "-" {
				file, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer file.Close()
				in = file
			}
			name := ""
			if len(args) == 2 {
				name = args[1]
			}
			id, err := e.Import(ctx, in, name)
			if err != nil {
				return err
			}
			fmt.Println(id)
			return nil
		})
}

func (a *app) images() *cobra.Command {
	var quiet, noTrunc bool
	cmd := a.onEngine("images [flags]", "list the images that are here", wants(0, 0), func(_ context.Context, e *engine.Engine, _ []string) error {
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
	})
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print IDs alone")
	cmd.Flags().BoolVar(&noTrunc, "no-trunc", false, "cut nothing short")
	return cmd
}

func (a *app) rmi() *cobra.Command {
	var force bool
	cmd := a.onEngine("rmi [flags] IMAGE…", "remove images", wants(1, -1), func(ctx context.Context, e *engine.Engine, names []string) error {
		var errs []error
		for _, n := range names {
			lines, err := e.RemoveImage(ctx, n, force)
			for _, l := range lines {
				fmt.Println(l)
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
	cmd.Flags().BoolVarP(&force, "force", "f", false, "remove an image even if stopped containers were made from it")
	return cmd
}
