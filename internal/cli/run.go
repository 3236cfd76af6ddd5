package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"porthole/workload/dialect"

	"porthole/internal/cli/fast"
)

// dockerFlags makes a command whose flags are Docker's: they end at the first argument.
func dockerFlags(cmd *cobra.Command) {
	cmd.Flags().SetInterspersed(false)
	cmd.DisableFlagsInUseLine = true
	cmd.Flags().Bool("help", false, "this help") // -h is the host name, as with Docker
}

func (a *app) run() *cobra.Command {
	cmd := &cobra.Command{
		Use: `run [flags] IMAGE [COMMAND] [ARG...]
  porthole run -f FILE [--container NAME] [COMMAND] [ARG...]`,
		Short: "run a command in a new container; the image `host` is this machine's own files",
	}
	dockerFlags(cmd)
	flags := dialect.RunFlags(cmd.Flags())
	var file filed
	file.bind(cmd.Flags())
	explain := cmd.Flags().Bool("why", false, "say afterwards what the command was refused, as why does")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := file.read(cmd.Flags(), flags, args)
		if err != nil {
			return err
		}
		if *explain {
			return a.explain(cmd.Context(), r, answering{})
		}
		return a.fast().Run(cmd.Context(), r)
	}
	return cmd
}

func (a *app) exec() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec [flags] CONTAINER COMMAND [ARG...]",
		Short: "run a command in a container that runs",
	}
	dockerFlags(cmd)
	flags := dialect.ExecFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		x, err := flags.Read(args, fast.Outside())
		if err != nil {
			return err
		}
		return a.fast().Exec(cmd.Context(), x)
	}
	return cmd
}

func (a *app) plan() *cobra.Command {
	cmd := &cobra.Command{
		Use: `plan [run's flags] IMAGE [COMMAND] [ARG...]
  porthole plan -f FILE [--container NAME] [COMMAND] [ARG...]`,
		Short: "print what `run` would do, call by call, and do none of it",
	}
	dockerFlags(cmd)
	flags := dialect.RunFlags(cmd.Flags())
	var file filed
	file.bind(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := file.read(cmd.Flags(), flags, args)
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
		Args:   wants(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.fast().Monitor(cmd.Context(), args[0])
		},
	}
}

// outside is what a command line may refer to.
func outside() dialect.Outside { return fast.Outside() }

// exited is a program's exit code as a command's result.
func exited(code int) error { return fast.Exited(code) }
