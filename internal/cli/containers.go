package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"porthole/internal/engine"
)

func (a *app) ps() *cobra.Command {
	var all, quiet, noTrunc bool
	cmd := &cobra.Command{
		Use:   "ps",
		Short: "list containers",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			e, err := a.engine()
			if err != nil {
				return err
			}
			list, err := e.List(all)
			if err != nil {
				return err
			}
			if quiet {
				for _, c := range list {
					fmt.Println(truncate(c.ID, 12, noTrunc))
				}
				return nil
			}
			w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
			fmt.Fprintln(w, "CONTAINER ID\tIMAGE\tCOMMAND\tCREATED\tSTATUS\tNAMES")
			for _, c := range list {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s ago\t%s\t%s\n", truncate(c.ID, 12, noTrunc), c.Image,
					truncate(fmt.Sprintf("%q", strings.Join(c.Command, " ")), 32, noTrunc),
					units.HumanDuration(time.Since(c.Created)), c.StatusText(time.Now()), c.Name)
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "those that have stopped too")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "IDs alone")
	cmd.Flags().BoolVar(&noTrunc, "no-trunc", false, "nothing cut short")
	return cmd
}

func truncate(s string, n int, whole bool) string {
	if whole || len(s) <= n {
		return s
	}
	if n <= 12 {
		return s[:n]
	}
	return s[:n-1] + "…"
}

// each does f for every named container, prints the name where it worked, and returns all that failed.
func (a *app) each(names []string, f func(*engine.Engine, string) error) error {
	e, err := a.engine()
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range names {
		if err := f(e, n); err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Println(n)
	}
	return errors.Join(errs...)
}

func (a *app) kill() *cobra.Command {
	var sig string
	cmd := &cobra.Command{
		Use:   "kill [flags] CONTAINER…",
		Short: "send a signal to a container's first process",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			return a.each(names, func(e *engine.Engine, n string) error { return e.Kill(n, sig) })
		},
	}
	cmd.Flags().StringVarP(&sig, "signal", "s", "KILL", "which")
	return cmd
}

func (a *app) stop() *cobra.Command {
	var sig string
	var seconds int
	cmd := &cobra.Command{
		Use:   "stop [flags] CONTAINER…",
		Short: "ask containers to stop, then kill them",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			var grace *time.Duration
			if cmd.Flags().Changed("time") || cmd.Flags().Changed("timeout") {
				d := time.Duration(seconds) * time.Second
				grace = &d
			}
			return a.each(names, func(e *engine.Engine, n string) error { return e.Stop(n, sig, grace) })
		},
	}
	cmd.Flags().StringVarP(&sig, "signal", "s", "", "which to ask with (default: the container's own, or TERM)")
	cmd.Flags().IntVarP(&seconds, "timeout", "t", 10, "seconds to wait before killing; -1 waits for ever")
	cmd.Flags().IntVar(&seconds, "time", 10, "the same")
	cmd.Flags().Lookup("time").Hidden = true
	return cmd
}

func (a *app) rm() *cobra.Command {
	var force, volumes bool
	cmd := &cobra.Command{
		Use:   "rm [flags] CONTAINER…",
		Short: "remove containers that have stopped",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			return a.each(names, func(e *engine.Engine, n string) error { return e.Remove(n, force, volumes) })
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "kill those that run")
	cmd.Flags().BoolVarP(&volumes, "volumes", "v", false, "and their anonymous volumes")
	return cmd
}

func (a *app) wait() *cobra.Command {
	return &cobra.Command{
		Use:   "wait CONTAINER…",
		Short: "wait until containers stop, and print their exit codes",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			e, err := a.engine()
			if err != nil {
				return err
			}
			var errs []error
			for _, n := range names {
				code, err := e.Wait(n)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				fmt.Println(code)
			}
			return errors.Join(errs...)
		},
	}
}

func (a *app) logs() *cobra.Command {
	var opt engine.LogOptions
	cmd := &cobra.Command{
		Use:   "logs [flags] CONTAINER",
		Short: "show what a container wrote",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := a.engine()
			if err != nil {
				return err
			}
			return e.Logs(args[0], opt, os.Stdout, os.Stderr)
		},
	}
	cmd.Flags().BoolVarP(&opt.Follow, "follow", "f", false, "go on until it stops")
	cmd.Flags().BoolVarP(&opt.Timestamps, "timestamps", "t", false, "with the time of each line")
	cmd.Flags().StringVarP(&opt.Tail, "tail", "n", "all", "so many of the last lines")
	return cmd
}

func (a *app) inspect() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect CONTAINER…",
		Short: "show all that is known of containers, as JSON",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			e, err := a.engine()
			if err != nil {
				return err
			}
			all := []any{}
			var errs []error
			for _, n := range names {
				v, err := e.Inspect(n)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				all = append(all, v)
			}
			return errors.Join(append(errs, printJSON(all))...)
		},
	}
}

// printJSON prints v for people and programs alike.
func printJSON(v any) error {
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "    ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
