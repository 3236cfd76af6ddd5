package cli

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"porthole/internal/engine"
	"porthole/internal/engine/lab"
	"porthole/plan"
	"porthole/workload/dialect"
)

// outside is what a command line may refer to: this process's environment, files and directory.
func outside() dialect.Outside {
	dir, _ := os.Getwd()
	return dialect.Outside{Env: os.LookupEnv, ReadFile: readFile, Dir: dir}
}

// dockerFlags makes a command whose flags are Docker's: they end at the first argument.
func dockerFlags(cmd *cobra.Command) {
	cmd.Flags().SetInterspersed(false)
	cmd.DisableFlagsInUseLine = true
	cmd.Flags().Bool("help", false, "this help") // -h is the host name, as with Docker
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return dialect.FlagError(cmd.Flags(), err) })
}

func (a *app) run() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run [flags] IMAGE [COMMAND] [ARG...]",
		Short: "run a command in a new container; the image `host` is this machine's own files",
	}
	dockerFlags(cmd)
	flags := dialect.RunFlags(cmd.Flags())
	explain := cmd.Flags().Bool("why", false, "say afterwards what the command was refused, as `porthole why` does")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := flags.Read(args, outside())
		if err != nil {
			return err
		}
		if *explain {
			return a.explain(cmd.Context(), r, answering{})
		}
		e, err := a.engine()
		if err != nil {
			return err
		}
		e.Progress = progress(false)
		if r.Detach {
			id, err := e.Detach(cmd.Context(), r.Workload, r.Remove)
			if err != nil {
				return err
			}
			fmt.Println(id)
			return nil
		}
		if err := needTerminal(r.Workload.TTY, r.Workload.Stdin); err != nil {
			return err
		}
		var glance lab.Glance
		opt := engine.RunOptions{Remove: r.Remove, Streams: streams(), Adjust: glance.Adjust}
		if a.verbose {
			opt.Timed = printTimes
		}
		code, err := e.Run(cmd.Context(), r.Workload, opt)
		if err != nil {
			if code, ok := failedToExecute(err); ok {
				a.keep(r.Workload, code, nil)
			}
			return err
		}
		a.keep(r.Workload, code, glance.Seen())
		return exited(code)
	}
	return cmd
}

func streams() engine.Streams { return engine.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr} }

// needTerminal refuses what Docker refuses: an interactive terminal whose input is none.
func needTerminal(tty, stdin bool) error {
	if tty && stdin && !isTerminal(os.Stdin) {
		return errors.New("the input device is not a TTY: leave -t out, or run this in a terminal")
	}
	return nil
}

// exited is a program's exit code as a command's result.
func exited(code int) error {
	if code == 0 {
		return nil
	}
	return exitError(code)
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

func (a *app) exec() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec [flags] CONTAINER COMMAND [ARG...]",
		Short: "run a command in a container that runs",
	}
	dockerFlags(cmd)
	flags := dialect.ExecFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		x, err := flags.Read(args, outside())
		if err != nil {
			return err
		}
		if err := needTerminal(x.TTY, x.Stdin); err != nil {
			return err
		}
		e, err := a.engine()
		if err != nil {
			return err
		}
		code, err := e.Exec(cmd.Context(), x, engine.ExecOptions{Streams: streams()})
		if err != nil {
			return err
		}
		return exited(code)
	}
	return cmd
}

func (a *app) plan() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan [run's flags] IMAGE [COMMAND] [ARG...]",
		Short: "print what `run` would do, call by call, and do none of it",
	}
	dockerFlags(cmd)
	flags := dialect.RunFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := flags.Read(args, outside())
		if err != nil {
			return err
		}
		e, err := a.engine()
		if err != nil {
			return err
		}
		p, err := e.Plan(cmd.Context(), r.Workload)
		if err != nil {
			return err
		}
		fmt.Print(p)
		return nil
	}
	return cmd
}

// monitor owns a container that runs in the background. People don't call it.
func (a *app) monitor() *cobra.Command {
	return &cobra.Command{
		Use:    "monitor ID",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := a.engine()
			if err != nil {
				return err
			}
			return e.Monitor(cmd.Context(), args[0])
		},
	}
}
