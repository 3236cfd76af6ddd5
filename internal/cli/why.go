package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"porthole/internal/cli/fast"
	"porthole/internal/engine"
	"porthole/internal/engine/container"
	"porthole/internal/engine/lab"
	"porthole/internal/host/probe"
	"porthole/why"
	"porthole/workload"
	"porthole/workload/dialect"
)

// answering are the flags that say how an answer is to be found and printed.
type answering struct {
	noRun, yes bool
	lang, json string
	with       string
	limit      time.Duration
}

func (q *answering) bind(f *pflag.FlagSet) {
	f.BoolVar(&q.noRun, "no-run", false, "make no experiments: nothing is run a second time")
	f.BoolVar(&q.yes, "yes", false, "repeat the command even if it reaches out of its container")
	f.StringVar(&q.with, "watch-with", "", "look on by ebpf or by notify (default: whichever sees more)")
	f.DurationVar(&q.limit, "time-limit", 0, "end an experiment that takes longer (default: five times the first run)")
	q.bindOutput(f)
}

// bindOutput binds those that say how it is to be printed.
func (q *answering) bindOutput(f *pflag.FlagSet) {
	f.StringVar(&q.lang, "lang", "", "answer in this `language`: "+languages()+" (default: LANG's)")
	f.StringVar(&q.json, "json", "", "write the answer as JSON into this `file`; without one, or with -, to standard output")
	f.Lookup("json").NoOptDefVal = "-"
}

// languages lists those that there are.
func languages() string {
	var out []string
	for _, l := range why.Languages() {
		out = append(out, string(l))
	}
	return strings.Join(out, ", ")
}

func (q *answering) check() error {
	switch lab.Sort(q.with) {
	case lab.Best, lab.EBPF, lab.Notify:
	default:
		return fmt.Errorf("--watch-with %s: want ebpf or notify", q.with)
	}
	if _, ok := why.FindLang(q.lang); q.lang != "" && !ok {
		return fmt.Errorf("--lang %s: there are %s", q.lang, languages())
	}
	return nil
}

// language is the one to answer in.
func (q *answering) language() why.Lang {
	for _, s := range []string{q.lang, os.Getenv("LC_ALL"), os.Getenv("LC_MESSAGES"), os.Getenv("LANG")} {
		if s != "" {
			l, _ := why.FindLang(s)
			return l
		}
	}
	return "en"
}

// write puts an answer where it was asked for: as JSON, or as text on err.
func (q *answering) write(text func(why.Lang) string, json func(why.Lang) []byte, to *os.File) error {
	switch q.json {
	case "":
		_, err := fmt.Fprint(to, text(q.language()))
		return err
	case "-":
		_, err := os.Stdout.Write(json(q.language()))
		return err
	}
	return os.WriteFile(q.json, json(q.language()), 0o644)
}

func (a *app) why() *cobra.Command {
	var q answering
	var s asked
	cmd := &cobra.Command{
		Use: `why [run's flags] IMAGE [COMMAND] [ARG...]
  porthole why --last
  porthole why CONTAINER | --pid PID  [--watch] [--syscall CALL]
  porthole why -f FILE [--container NAME] [--syscall CALL] [COMMAND] [ARG...]
  porthole why --syscall CALL [--as ENGINE:VERSION] [--kernel VERSION] [run's flags]
  porthole why --explain CODE`,
		Short: "say which layer refused what, with proof, and the least grant that helps",
		Long: `Runs a command as run does, passes its output and its exit code through, and then says on standard
error which layer refused it what: proved by experiments in throw-away containers, each with one
thing changed. Or asks about what runs already, about the last run that failed, or about a call on
another machine.`,
	}
	dockerFlags(cmd)
	flags := dialect.RunFlags(cmd.Flags())
	q.bind(cmd.Flags())
	s.bind(cmd.Flags())
	var file filed
	file.bind(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := q.check(); err != nil {
			return err
		}
		if err := s.alone(cmd.Flags(), args); err != nil {
			return err
		}
		switch {
		case s.code != "":
			return explainCode(s.code, q)
		case s.last:
			return a.explainLast(cmd.Context(), q)
		case s.pid != 0:
			return a.look(cmd.Context(), s.pid, s, q)
		case s.watch && len(args) == 0:
			return errors.New("--watch: name a container or a --pid to watch")
		case file.name != "" || file.container != "":
			r, err := file.read(cmd.Flags(), flags, args)
			if err != nil {
				return err
			}
			if s.syscall != "" {
				return a.ask(r.Workload, s, q)
			}
			r.Remove = true
			return a.explain(cmd.Context(), r, q)
		}
		if len(args) == 1 || len(args) > 1 && strings.HasPrefix(args[1], "-") {
			pid, ok, err := a.running(args[0])
			if err != nil {
				return err
			}
			if ok {
				// Behind a container there is no command: flags may stand there, too.
				if err := cmd.Flags().Parse(args[1:]); err != nil {
					return dialect.FlagError(cmd.Flags(), err)
				}
				if err := q.check(); err != nil {
					return err
				}
				return a.look(cmd.Context(), pid, s, q)
			}
			if slices.ContainsFunc(args[1:], func(f string) bool { return f == "--watch" || strings.HasPrefix(f, "--syscall") }) {
				_, err := lab.Find(args[0]) // asked of a container, and none is called so
				return err
			}
		}
		if s.syscall != "" && len(args) == 0 {
			args = []string{"host"}
			r, err := flags.Read(args, fast.Outside())
			if err != nil {
				return err
			}
			return a.ask(r.Workload, s, q)
		}
		if s.watch || s.syscall != "" {
			return fmt.Errorf("%s: no such container is running", args[0])
		}
		r, err := flags.Read(args, fast.Outside())
		if err != nil {
			return err
		}
		r.Remove = true
		if s.userns != "" {
			r.Workload.NS.User = "private"
		}
		return a.explain(cmd.Context(), r, q)
	}
	return cmd
}

// explainCode prints what a code stands for.
func explainCode(code string, q answering) error {
	text, ok := why.Explain(code, q.language())
	if !ok {
		var near []string
		for _, k := range why.Codes() {
			if len(code) > 2 && strings.HasPrefix(string(k.Code), strings.ToUpper(code[:3])) {
				near = append(near, string(k.Code))
			}
		}
		if near == nil {
			for _, k := range why.Codes() {
				near = append(near, string(k.Code))
			}
		}
		return fmt.Errorf("--explain %s: no such code; there are %s", code, strings.Join(near, " "))
	}
	fmt.Print(text)
	return nil
}

// explain runs r as `run` would, then says what it was refused.
func (a *app) explain(ctx context.Context, r dialect.Run, q answering) error {
	if r.Detach {
		return errors.New("a container in the background can't be explained: leave -d out, or ask about the one that runs (porthole why CONTAINER)")
	}
	if err := fast.NeedTerminal(r.Workload.TTY, r.Workload.Stdin); err != nil {
		return err
	}
	facts, err := probe.Deep()
	if err != nil {
		return err
	}
	e, err := a.engineOn(facts, warn)
	if err != nil {
		return err
	}
	e.Progress = fast.Progress(false)
	// What is to be said of the container is said once.
	quiet, err := a.engineOn(facts, func(string) {})
	if err != nil {
		return err
	}
	l := &lab.Lab{Workload: r.Workload, Run: runner(quiet, true), With: lab.Sort(q.with), Cache: a.traceCache(), Limit: q.limit, Keep: true}
	defer l.Close()
	first, failed := l.First(ctx, runner(e, r.Remove), [3]*os.File{os.Stdin, os.Stdout, os.Stderr})
	if failed != nil {
		if l.Base().Spec == nil || first.Exit == fast.ExitOurs || first.Exit == 0 {
			return failed
		}
		fmt.Fprintf(os.Stderr, "porthole: run: %v\n", failed)
	}
	scene, err := l.Scene(facts, first.Sight)
	if err != nil {
		return err
	}
	x, err := inquire(ctx, l, scene, first, q)
	if err != nil {
		return err
	}
	if err := q.write(x.Text, x.JSON, os.Stderr); err != nil {
		return err
	}
	return fast.Exited(first.Exit)
}

// traceCache is where the watcher keeps what it found out about this kernel; "" where that can't be made.
func (a *app) traceCache() string {
	dir := filepath.Join(a.root, "trace")
	if os.MkdirAll(dir, 0o700) != nil {
		return ""
	}
	return dir
}

// inquire carries out the experiments that package why asks for, after asking the user about
// those that would reach out of their container.
func inquire(ctx context.Context, l *lab.Lab, scene why.Scene, first why.Outcome, q answering) (why.Explanation, error) {
	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM)
	defer stop()
	inquiry := why.Begin(scene, first, why.Options{NoRun: q.noRun})
	agreed := q.yes || q.noRun
	for x, ok := inquiry.Next(); ok; x, ok = inquiry.Next() {
		if !agreed && !consent(l.Reaches()) {
			inquiry = why.Begin(scene, first, why.Options{NoRun: true})
		}
		agreed = true
		if ctx.Err() != nil {
			return why.Explanation{}, errors.New("interrupted")
		}
		inquiry.Tell(x, l.Try(ctx, x))
	}
	return inquiry.Explain(), nil
}

// consent asks whether a command may be repeated that reached, or may have reached, out of its container.
func consent(reaches []lab.Reach) bool {
	if len(reaches) == 0 {
		return true
	}
	var what []string
	for _, r := range reaches {
		what = append(what, r.What)
	}
	fmt.Fprintf(os.Stderr, "porthole: to find the cause the command would be repeated, but %s\n", strings.Join(what, ", and "))
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, "  it was not: --yes repeats it all the same")
		return false
	}
	defer tty.Close()
	fmt.Fprint(tty, "  repeat it? [y/N] ")
	line, _ := bufio.NewReader(tty).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes", "j", "ja":
		return true
	}
	return false
}

// quoted is a command line for a shell.
func quoted(args []string) string {
	var out []string
	for _, s := range args {
		if s == "" || strings.ContainsAny(s, " \t\n'\"\\$&|;<>()*?[]#~`!{}") {
			s = "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

// runner is how e runs a workload for the laboratory.
func runner(e *engine.Engine, remove bool) lab.Runner {
	return func(ctx context.Context, w workload.Workload, std [3]*os.File, adjust func(*container.Config)) (exit container.Exit, err error) {
		exit.Code, err = e.Run(ctx, w, engine.RunOptions{
			Remove: remove, Adjust: adjust, Streams: engine.Streams{In: std[0], Out: std[1], Err: std[2]},
			Ended: func(x container.Exit) { exit = x },
		})
		return exit, err
	}
}
