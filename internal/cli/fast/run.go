package fast

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"porthole/event"
	"porthole/event/decode"
	"porthole/internal/engine"
	"porthole/internal/engine/container"
	"porthole/internal/engine/glance"
	"porthole/plan"
	"porthole/workload"
	"porthole/workload/dialect"
)

// Run runs a container in the foreground, or starts it in the background and prints its ID. Its error is an
// ExitError where the program itself failed, and image.ErrNoRegistry, with nothing done yet, where the image
// would have to be fetched and can't be.
func (a *App) Run(ctx context.Context, r dialect.Run) error {
	e, err := a.Engine()
	if err != nil {
		return err
	}
	e.Progress = Progress(false)
	if r.Detach {
		id, err := e.Detach(ctx, r.Workload, r.Remove)
		if err != nil {
			return err
		}
		fmt.Println(id)
		return nil
	}
	if err := NeedTerminal(r.Workload.TTY, r.Workload.Stdin); err != nil {
		return err
	}
	var g glance.Glance
	opt := engine.RunOptions{Remove: r.Remove, Streams: Streams(), Adjust: g.Adjust}
	if a.Verbose {
		opt.Timed = printTimes
	}
	code, err := e.Run(ctx, r.Workload, opt)
	if err != nil {
		if code, ok := FailedToExecute(err); ok {
			a.keep(r.Workload, code, nil)
		}
		return err
	}
	a.keep(r.Workload, code, g.Seen())
	return Exited(code)
}

// Exec runs a command in a container that runs.
func (a *App) Exec(ctx context.Context, x workload.Exec) error {
	if err := NeedTerminal(x.TTY, x.Stdin); err != nil {
		return err
	}
	e, err := a.Engine()
	if err != nil {
		return err
	}
	code, err := e.Exec(ctx, x, engine.ExecOptions{Streams: Streams()})
	if err != nil {
		return err
	}
	return Exited(code)
}

// Monitor owns a container that runs in the background, until it ends.
func (a *App) Monitor(ctx context.Context, id string) error {
	e, err := a.Engine()
	if err != nil {
		return err
	}
	return e.Monitor(ctx, id)
}

// Streams are this process's own.
func Streams() engine.Streams { return engine.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr} }

// NeedTerminal refuses what Docker refuses: an interactive terminal whose input is none.
func NeedTerminal(tty, stdin bool) error {
	if tty && stdin && !IsTerminal(os.Stdin) {
		return errors.New("the input device is not a TTY: leave -t out, or run this in a terminal")
	}
	return nil
}

// printTimes says how long each step of a plan took.
func printTimes(p *plan.Plan, start time.Duration, steps []time.Duration) {
	fmt.Fprintf(os.Stderr, "%8.1f µs  clone\n", float64(start)/1e3)
	for i, d := range steps {
		if d > 0 {
			fmt.Fprintf(os.Stderr, "%8.1f µs  %s\n", float64(d)/1e3, p.Describe(i))
		}
	}
}

// keep remembers a run that failed, and says in one line what was refused in it. code is the
// program's, or that of a program that could not be executed.
func (a *App) keep(w workload.Workload, code int, refused []event.Event) {
	if code == 0 {
		return
	}
	last := glance.Last{Workload: w, Exit: code, Ended: time.Now(), Refused: refused}
	if err := last.Save(a.Root); err != nil {
		return // what can't be kept can't be explained later; the run itself is as it was
	}
	if len(refused) == 0 {
		return
	}
	more := ""
	if n := len(refused) - 1; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	fmt.Fprintf(os.Stderr, "porthole: seccomp refused %s%s; `porthole why --last` finds out whether that mattered\n", Line(refused[0]), more)
}

// Line is a refusal as strace would print it, with who it was.
func Line(e event.Event) string {
	by := ""
	if e.Filtered {
		by = " (seccomp)"
	}
	return fmt.Sprintf("%s[%d] %s%s", e.Comm, e.PID, decode.Line(e), by)
}

// FailedToExecute is the exit code of a program that could not be executed: an answer too, and no
// error of ours.
func FailedToExecute(err error) (int, bool) {
	var setup *container.SetupError
	if !errors.As(err, &setup) || setup.ExitCode() == ExitOurs {
		return 0, false
	}
	return setup.ExitCode(), true
}
