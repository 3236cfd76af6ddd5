// Package lab carries out why's experiments: the same workload again, from the same snapshot, in
// a throw-away container in which one thing is changed.
//
// Start here, then lift.go (a factor → what is changed), guard.go (what no experiment may do
// to the machine), watch.go (who looks on), capture.go (output and input), outside.go (what a
// repetition would reach), scene.go (the container as package why takes it).
package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"porthole/event"
	"porthole/internal/engine/container"
	"porthole/internal/host/trace"
	"porthole/why"
	"porthole/workload"
)

// Runner makes a container of w, has adjust change it, runs it with the three streams (nil is
// /dev/null) to its end, and returns how that was. When ctx ends, it kills the program. A program
// that could not be executed is an error with an ExitCode method.
type Runner func(ctx context.Context, w workload.Workload, std [3]*os.File, adjust func(*container.Config)) (container.Exit, error)

// Lab is one workload under examination. First runs it as its user asked for; Try repeats it.
type Lab struct {
	Workload workload.Workload
	Run      Runner // makes containers of which nothing is left
	With     Sort   // how to watch
	Cache    string // a directory of ours for what the watcher finds out about this kernel; "": none
	// Limit ends a repetition that takes longer. 0: five times what the first run took, and
	// between five seconds and a minute.
	Limit time.Duration

	// Keep has one watcher watch all runs: loading its programs takes longer than most runs. Close ends it.
	Keep bool
	idle *trace.Watcher

	base  container.Config // what the first run was made of
	first why.Outcome
	took  time.Duration
	began time.Time
	input *replay
}

// First runs the workload with run, passing std through, and returns how that ended. An error
// says that there was nothing to run; a program that could not be executed is an Outcome,
// and its error comes beside that for the caller to print.
func (l *Lab) First(ctx context.Context, run Runner, std [3]*os.File) (why.Outcome, error) {
	l.began = time.Now()
	l.input = &replay{}
	made := false
	o, err := l.once(ctx, run, l.Workload, std, l.input, func(cfg *container.Config) error {
		l.base, made = *cfg, true
		return nil
	})
	l.took = time.Since(l.began)
	var coded interface{ ExitCode() int }
	if err != nil && (!made || !errors.As(err, &coded) || coded.ExitCode() == 125) {
		return o, err
	}
	l.first = o
	return o, err
}

// Close ends what Keep kept.
func (l *Lab) Close() error {
	if l.idle == nil {
		return nil
	}
	w := l.idle
	l.idle = nil
	return w.Close()
}

// Base is the configuration that the first run was made of.
func (l *Lab) Base() container.Config { return l.base }

// Try carries out an experiment. It never fails: what went wrong is in the Outcome.
func (l *Lab) Try(ctx context.Context, x why.Experiment) why.Outcome {
	if l.input.overflown() {
		return why.Outcome{Err: fmt.Errorf("what it read from standard input was more than %d bytes: it can't be given that again", maxInput)}
	}
	w := l.Workload
	w.Name = ""
	var unable []why.Factor
	var changes []change
	for _, f := range x.Lift {
		c, err := l.lift(f)
		if err != nil {
			unable = append(unable, f)
			continue
		}
		if c.undo != nil {
			defer c.undo()
		}
		changes = append(changes, c)
		if c.workload != nil {
			c.workload(&w)
		}
	}
	unable = append(unable, l.tooMuch(x.Lift)...)
	if unable != nil {
		return why.Outcome{Unable: unable}
	}
	limit := l.Limit
	if limit == 0 {
		limit = min(max(5*l.took, 5*time.Second), time.Minute)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var guarded []guard
	o, err := l.once(ctx, l.Run, w, [3]*os.File{}, l.input.again(), func(cfg *container.Config) error {
		for _, c := range changes {
			if c.config != nil {
				if err := c.config(cfg); err != nil {
					return err
				}
			}
		}
		l.shield(cfg)
		guarded = l.protect(cfg)
		return nil
	})
	var coded interface{ ExitCode() int }
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		o.Cut = true
	case err != nil && (!errors.As(err, &coded) || coded.ExitCode() == 125):
		return why.Outcome{Err: err}
	}
	if g, hit := stopped(guarded, o.Events); hit {
		return why.Outcome{Unable: x.Lift, Err: fmt.Errorf("stopped before %s, which would have %s", g.call, g.does)}
	}
	if slices.ContainsFunc(x.Lift, func(f why.Factor) bool { return f.Kind == why.Everything }) {
		o.Kept = l.kept()
	}
	return o
}

// once runs w and puts together what is to be known of it. change may still refuse the run.
func (l *Lab) once(ctx context.Context, run Runner, w workload.Workload, std [3]*os.File, in *replay, change func(*container.Config) error) (why.Outcome, error) {
	var watch *watch
	io, err := newCapture(std, w, in)
	if err != nil {
		return why.Outcome{}, err
	}
	var refused error
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	exit, err := run(ctx, w, io.child, func(cfg *container.Config) {
		if refused = change(cfg); refused != nil {
			stop(refused)
			return
		}
		if watch, refused = l.attach(cfg); refused != nil {
			stop(refused)
		}
	})
	output := io.finish()
	o := why.Outcome{Exit: exit.Code, Signal: exit.Signal, Output: output, Said: tailOf(in.text)}
	o.Events, o.Sight = watch.finish()
	if exit.OOM {
		o.Events = append(o.Events, event.Event{Kind: event.Starved, PID: 1, TID: 1, Comm: commOf(w)})
	}
	if refused != nil {
		return o, refused
	}
	if err != nil {
		var coded interface{ ExitCode() int }
		if errors.As(err, &coded) {
			o.Exit = coded.ExitCode()
		}
		if e, ok := notExecuted(err, l.base); ok {
			o.Events = withExec(o.Events, e)
		}
	}
	return o, err
}

// commOf is what a workload's first thread is called, as far as that is known beforehand.
func commOf(w workload.Workload) string {
	if len(w.Args) == 0 {
		return ""
	}
	name := path.Base(w.Args[0])
	return name[:min(len(name), 15)]
}

// tailOf is the end of what a program said: what it ended with is told there.
func tailOf(text string) string {
	const most = 8 << 10
	return strings.ToValidUTF8(text[max(0, len(text)-most):], "\ufffd")
}

// notExecuted is the event of a program that the container could not be made to execute: it is
// the container's own first process that fails there, whatever watches.
func notExecuted(err error, cfg container.Config) (event.Event, bool) {
	var setup *container.SetupError
	if !errors.As(err, &setup) || setup.Step.Step.Tag != "execve" || setup.Step.Signal != 0 {
		return event.Event{}, false
	}
	nr, ok := cfg.Facts.Arch.Nr("execve")
	e := event.Event{
		Kind: event.Refused, PID: 1, TID: 1, Comm: "porthole", Arch: cfg.Facts.Arch, Nr: nr,
		Errno: setup.Step.Errno, Strings: map[int]string{0: setup.Command},
	}
	e.File = fileIn(cfg, setup.Command)
	if e.File != nil {
		e.Strings[0] = e.File.Path
	}
	return e, ok
}

// withExec adds e to what was seen, or what it knows of the file to the event that is it: a watcher comes
// too late to look, since the container is gone with its first process.
func withExec(es []event.Event, e event.Event) []event.Event {
	for i := range es {
		x := &es[i]
		if x.Kind != e.Kind || x.Nr != e.Nr || x.Arch != e.Arch || x.Errno != e.Errno {
			continue
		}
		x.Strings, x.Comm = e.Strings, e.Comm
		if e.File != nil {
			x.File = e.File
		}
		return es
	}
	return append(es, e)
}

// Text is what the first run wrote, as far as it was kept: for finding what the program said of a refusal.
func (l *Lab) Text() string { return strings.ToValidUTF8(l.input.text, "\ufffd") }
