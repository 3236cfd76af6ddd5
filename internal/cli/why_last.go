package cli

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/docker/go-units"

	"porthole/event"
	"porthole/internal/cli/fast"
	"porthole/internal/engine/glance"
	"porthole/internal/engine/lab"
	"porthole/internal/host/probe"
	"porthole/why"
	"porthole/workload/dialect"
)

// explainLast runs the last run that failed once more, to see whether it fails again, and explains that.
func (a *app) explainLast(ctx context.Context, q answering) error {
	last, err := glance.LoadLast(a.root)
	if err != nil {
		return err
	}
	args := dialect.DockerArgs(dialect.Run{Workload: last.Workload, Remove: true})
	fmt.Fprintf(os.Stderr, "porthole run %s\n  ended with %d, %s ago\n", quoted(args), last.Exit, units.HumanDuration(time.Since(last.Ended)))
	facts, err := probe.Deep()
	if err != nil {
		return err
	}
	e, err := a.engineOn(facts, func(string) {})
	if err != nil {
		return err
	}
	w := last.Workload
	w.Name, w.TTY = "", false
	if w.Stdin {
		w.Stdin = false
		fmt.Fprintln(os.Stderr, "  what it read from standard input was not kept: it reads nothing now")
	}
	l := &lab.Lab{Workload: w, Run: runner(e, true), With: lab.Sort(q.with), Cache: a.traceCache(), Limit: q.limit, Keep: true}
	defer l.Close()
	if !q.noRun && !q.yes {
		base, err := e.Config(ctx, w)
		if err != nil {
			return err
		}
		if !consent(l.MayReach(base)) {
			q.noRun = true
		}
		q.yes = true
	}
	if q.noRun {
		base, err := e.Config(ctx, w)
		if err != nil {
			return err
		}
		scene, err := l.SceneOf(base, facts, event.Sight{Filtered: true})
		if err != nil {
			return err
		}
		first := why.Outcome{Exit: last.Exit, Events: last.Refused, Sight: event.Sight{Filtered: true}}
		x := why.Begin(scene, first, why.Options{NoRun: true}).Explain()
		return q.write(x.Text, x.JSON, os.Stdout)
	}
	first, failed := l.First(ctx, l.Run, [3]*os.File{})
	if failed != nil && (l.Base().Spec == nil || first.Exit == fast.ExitOurs || first.Exit == 0) {
		return failed
	}
	if first.Exit != last.Exit {
		fmt.Fprintf(os.Stderr, "  this time it ended with %d\n", first.Exit)
	}
	if text := strings.TrimSpace(l.Text()); text != "" {
		lines := strings.Split(text, "\n")
		fmt.Fprintf(os.Stderr, "  its last words: %s\n", lines[len(lines)-1])
	}
	scene, err := l.Scene(facts, first.Sight)
	if err != nil {
		return err
	}
	x, err := inquire(ctx, l, scene, first, q)
	if err != nil {
		return err
	}
	return q.write(x.Text, x.JSON, os.Stdout)
}
