package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/docker/go-units"

	"porthole/event"
	"porthole/internal/engine"
	"porthole/internal/engine/container"
	"porthole/internal/engine/lab"
	"porthole/internal/host/probe"
	"porthole/why"
	"porthole/workload"
	"porthole/workload/dialect"
)

// keep remembers a run that failed, and says in one line what was refused in it. code is the
// program's, or that of a program that could not be executed.
func (a *app) keep(w workload.Workload, code int, refused []event.Event) {
	if code == 0 {
		return
	}
	last := lab.Last{Workload: w, Exit: code, Ended: time.Now(), Refused: refused}
	if err := last.Save(a.root); err != nil {
		return // what can't be kept can't be explained later; the run itself is as it was
	}
	if len(refused) == 0 {
		return
	}
	more := ""
	if n := len(refused) - 1; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	fmt.Fprintf(os.Stderr, "porthole: seccomp refused %s%s; `porthole why --last` finds out whether that mattered\n", line(refused[0]), more)
}

// failedToExecute is the exit code of a program that could not be executed: an answer too, and no
// error of ours.
func failedToExecute(err error) (int, bool) {
	var setup *container.SetupError
	if !errors.As(err, &setup) || setup.ExitCode() == exitOurs {
		return 0, false
	}
	return setup.ExitCode(), true
}

// explainLast runs the last run that failed once more, to see whether it fails again, and explains that.
func (a *app) explainLast(ctx context.Context, q answering) error {
	last, err := lab.LoadLast(a.root)
	if err != nil {
		return err
	}
	args := dialect.DockerArgs(dialect.Run{Workload: last.Workload, Remove: true})
	fmt.Fprintf(os.Stderr, "porthole run %s\n  ended with %d, %s ago\n", quoted(args), last.Exit, units.HumanDuration(time.Since(last.Ended)))
	facts, err := probe.Deep()
	if err != nil {
		return err
	}
	e, err := engine.Open(a.root, facts, func(string) {})
	if err != nil {
		return err
	}
	w := last.Workload
	w.Name, w.TTY = "", false
	if w.Stdin {
		w.Stdin = false
		fmt.Fprintln(os.Stderr, "  what it read from standard input was not kept: it reads nothing now")
	}
	l := &lab.Lab{Workload: w, Run: runner(e, true), With: lab.Sort(q.with), Cache: a.traceCache(), Limit: q.limit}
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
	if failed != nil && (l.Base().Spec == nil || first.Exit == exitOurs || first.Exit == 0) {
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
