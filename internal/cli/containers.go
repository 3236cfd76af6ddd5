package cli

import (
	"cmp"
	"context"
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

// onEngine makes a command that works on this machine's containers and images.
func (a *app) onEngine(use, short string, args cobra.PositionalArgs, do func(context.Context, *engine.Engine, []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: args, RunE: func(cmd *cobra.Command, args []string) error {
		e, err := a.engine()
		if err != nil {
			return err
		}
		return do(cmd.Context(), e, args)
	}}
}

// each does something for every name, prints what it says where it worked, and returns all that failed.
func each(names []string, do func(name string) (say any, err error)) error {
	var errs []error
	for _, n := range names {
		say, err := do(n)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Println(say)
	}
	return errors.Join(errs...)
}

func (a *app) ps() *cobra.Command {
	var all, quiet, noTrunc bool
	cmd := a.onEngine("ps [flags]", "list containers", wants(0, 0), func(_ context.Context, e *engine.Engine, _ []string) error {
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
	})
	cmd.Flags().BoolVarP(&all, "all", "a", false, "list those that have stopped, too")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print IDs alone")
	cmd.Flags().BoolVar(&noTrunc, "no-trunc", false, "cut nothing short")
	return cmd
}

// truncate cuts a text to n letters, the last of which is … where there is room for one.
func truncate(s string, n int, whole bool) string {
	r := []rune(s)
	switch {
	case whole || len(r) <= n:
		return s
	case n <= 12:
		return string(r[:n])
	}
	return string(r[:n-1]) + "…"
}

func (a *app) kill() *cobra.Command {
	var sig string
	cmd := a.onEngine("kill [flags] CONTAINER…", "send a signal to a container's first process", wants(1, -1),
		func(_ context.Context, e *engine.Engine, names []string) error {
			return each(names, func(n string) (any, error) { return n, e.Kill(n, cmp.Or(sig, "KILL")) })
		})
	cmd.Flags().StringVarP(&sig, "signal", "s", "KILL", "which `signal`, by name or number")
	return cmd
}

func (a *app) stop() *cobra.Command {
	var sig string
	var seconds int
	var cmd *cobra.Command
	cmd = a.onEngine("stop [flags] CONTAINER…", "ask containers to stop, then kill them", wants(1, -1),
		func(_ context.Context, e *engine.Engine, names []string) error {
			var grace *time.Duration
			if cmd.Flags().Changed("time") || cmd.Flags().Changed("timeout") {
				d := time.Duration(seconds) * time.Second
				grace = &d
			}
			return each(names, func(n string) (any, error) { return n, e.Stop(n, sig, grace) })
		})
	cmd.Flags().StringVarP(&sig, "signal", "s", "", "the `signal` to ask with (default: the container's own, or TERM)")
	cmd.Flags().IntVarP(&seconds, "timeout", "t", 10, "`seconds` to wait before killing; -1 waits for ever")
	cmd.Flags().IntVar(&seconds, "time", 10, "the same")
	cmd.Flags().Lookup("time").Hidden = true
	return cmd
}

func (a *app) rm() *cobra.Command {
	var force, volumes bool
	cmd := a.onEngine("rm [flags] CONTAINER…", "remove containers that have stopped", wants(1, -1),
		func(_ context.Context, e *engine.Engine, names []string) error {
			return each(names, func(n string) (any, error) { return n, e.Remove(n, force, volumes) })
		})
	cmd.Flags().BoolVarP(&force, "force", "f", false, "kill those that run, and remove them")
	cmd.Flags().BoolVarP(&volumes, "volumes", "v", false, "remove their anonymous volumes, too")
	return cmd
}

func (a *app) wait() *cobra.Command {
	return a.onEngine("wait CONTAINER…", "wait until containers stop, and print their exit codes", wants(1, -1),
		func(_ context.Context, e *engine.Engine, names []string) error {
			return each(names, func(n string) (any, error) { return e.Wait(n) })
		})
}

func (a *app) logs() *cobra.Command {
	var opt engine.LogOptions
	cmd := a.onEngine("logs [flags] CONTAINER", "show what a container wrote", wants(1, 1),
		func(_ context.Context, e *engine.Engine, args []string) error {
			return e.Logs(args[0], opt, os.Stdout, os.Stderr)
		})
	cmd.Flags().BoolVarP(&opt.Follow, "follow", "f", false, "go on until the container stops")
	cmd.Flags().BoolVarP(&opt.Timestamps, "timestamps", "t", false, "print each line with its time")
	cmd.Flags().StringVarP(&opt.Tail, "tail", "n", "all", "so many of the last lines: a `number`, or all")
	return cmd
}

func (a *app) inspect() *cobra.Command {
	return a.onEngine("inspect CONTAINER…", "show all that is known of containers, as JSON", wants(1, -1),
		func(_ context.Context, e *engine.Engine, names []string) error {
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
		})
}

// printJSON prints v for people and programs alike.
func printJSON(v any) error {
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "    ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
