// Package cli is the command people type: one file for each, which parses flags, calls one
// flow and prints. It alone prints, and exits.
package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"porthole/facts"
	"porthole/internal/cli/fast"
	"porthole/internal/engine"
	"porthole/internal/host/image"
	"porthole/internal/host/registry"
	"porthole/near"
	"porthole/workload/dialect"
)

// version is set by the linker.
var version = "unknown"

// app is what every command has at hand.
type app struct {
	root    string // where images and containers are kept
	verbose bool
}

// Main runs porthole with its arguments (without the program's name) and returns the exit code.
func Main(args []string) int {
	fast.Begin()
	a := &app{}
	cmd := a.command(args)
	cmd.SetArgs(args)
	ran, err := cmd.ExecuteC()
	verb := strings.TrimPrefix(strings.TrimPrefix(ran.CommandPath(), "porthole"), " ")
	var misused flagError
	if err != nil && slices.Contains(dockersOwn, verb) && !errors.As(err, &misused) {
		err = failure{err}
	}
	return fast.Code(verb, err)
}

// dockersOwn are the verbs of Docker's that run no program of the user's: with them Docker exits with 1 where something
// fails, and with 125 where its flags are wrong (docker/cli, cmd/docker/docker.go).
var dockersOwn = []string{"ps", "kill", "rm", "stop", "wait", "logs", "inspect", "pull", "load", "import", "images", "rmi", "info", "version"}

// failure is one of theirs.
type failure struct{ error }

func (failure) ExitCode() int   { return 1 }
func (f failure) Unwrap() error { return f.error }

// flagError is a mistake in a command's flags.
type flagError struct{ error }

func (f flagError) Unwrap() error { return f.error }

// wants lets a command have least to most arguments; -1 is any number.
func wants(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		n := len(args)
		many := func(how string, n int) string {
			if n == 1 {
				return "requires " + how + " 1 argument"
			}
			return fmt.Sprintf("requires %s %d arguments", how, n)
		}
		var what string
		switch {
		case n >= least && (most < 0 || n <= most):
			return nil
		case most == 0:
			what = "accepts no arguments"
		case least == most:
			what = many("exactly", least)
		case n < least:
			what = many("at least", least)
		default:
			what = many("at most", most)
		}
		return fmt.Errorf("%s: %s", what, cmd.UseLine())
	}
}

// command makes the commands that args may mean: the one that the first of them names, or all. (Together they
// have 250 flags, which take 0.4 ms of a start.)
func (a *app) command(args []string) *cobra.Command {
	root := &cobra.Command{
		Use:               "porthole",
		Short:             "a container engine you can see through",
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	holder(root)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return flagError{dialect.FlagError(cmd.Flags(), err)} })
	root.PersistentFlags().StringVar(&a.root, "root", fast.DefaultRoot(), "`directory` where images and containers are kept")
	root.PersistentFlags().BoolVar(&a.verbose, "verbose", false, "say what is done, and how long each step takes")
	all := []struct {
		name string
		make func() *cobra.Command
	}{
		{"run", a.run}, {"exec", a.exec}, {"ps", a.ps}, {"kill", a.kill}, {"rm", a.rm}, {"stop", a.stop},
		{"wait", a.wait}, {"logs", a.logs}, {"inspect", a.inspect},
		{"pull", a.pull}, {"load", a.load}, {"import", a.importCmd}, {"images", a.images}, {"rmi", a.rmi},
		{"why", a.why}, {"plan", a.plan}, {"convert", a.convert}, {"profile", a.profile}, {"caps", a.caps}, {"info", a.info},
		{"version", a.versionCmd}, {"monitor", a.monitor}, {"man", a.man},
	}
	for _, c := range all {
		if len(args) > 0 && c.name == args[0] {
			root.AddCommand(c.make())
			root.CompletionOptions.DisableDefaultCmd = true
			return root
		}
	}
	for _, c := range all {
		root.AddCommand(c.make())
	}
	if slices.ContainsFunc(args, func(s string) bool { return strings.HasPrefix(s, cobra.ShellCompRequestCmd) }) {
		a.complete(root)
	}
	root.InitDefaultCompletionCmd(args...)
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "completion":
			holder(c)
		case "help":
			c.Short = "say how a command is used"
		}
	}
	return root
}

func unknownCommand(cmd *cobra.Command, name string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	msg := fmt.Sprintf("unknown command %q", name)
	if like := near.Names(name, names, 2); len(like) > 0 {
		msg += "; did you mean " + strings.Join(like, " or ") + "?"
	}
	return fmt.Errorf("%s (%s --help lists them)", msg, cmd.CommandPath())
}

// holder makes a command that does nothing but hold others.
func holder(cmd *cobra.Command) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return unknownCommand(cmd, args[0])
	}
}

// unused refuses flags that would have no say, and says why.
func unused(flags *pflag.FlagSet, why string, names ...string) error {
	for _, n := range names {
		if flags.Changed(n) {
			return flagError{fmt.Errorf("--%s: %s", n, why)}
		}
	}
	return nil
}

// fast is what starting containers needs, with a registry.
func (a *app) fast() *fast.App {
	return &fast.App{Root: a.root, Verbose: a.verbose, Registry: fetch}
}

func fetch(domain, path string) (image.Repository, error) { return registry.Open(domain, path) }

// engine opens the engine on this machine.
func (a *app) engine() (*engine.Engine, error) { return a.fast().Engine() }

// engineOn opens it for a machine that is known; say tells the user what does not stop a command.
func (a *app) engineOn(f facts.Facts, say func(string)) (*engine.Engine, error) {
	e, err := engine.Open(a.root, f, say)
	if err != nil {
		return nil, err
	}
	e.Registry = fetch
	return e, nil
}

// warn tells the user something that does not stop the command.
func warn(msg string) { fast.Warn(msg) }

// readFile reads a file that the user named; "-" is standard input.
func readFile(name string) ([]byte, error) { return fast.ReadFile(name) }
