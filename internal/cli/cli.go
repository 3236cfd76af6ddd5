// Package cli is the command people type: one file for each, which parses flags, calls one
// flow and prints. It alone prints, and exits.
package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"porthole/internal/engine"
	"porthole/internal/host/probe"
	"porthole/internal/host/sys"
)

// version is set by the linker.
var version = "unknown"

// Exit codes of our own, Docker's and the shell's.
const (
	exitOurs        = 125 // porthole itself failed or refused
	exitNotRunnable = 126 // the command is there and can't be run
	exitNotFound    = 127 // the command isn't there
)

// deepen makes room on the stack at once. Left to grow by doubling, it is copied four times on the way down to
// where containers are made, each time with more on it.
//
//go:noinline
func deepen() byte {
	var room [48 << 10]byte
	return room[len(os.Args)]
}

// exitError carries an exit code that is not an error of ours, the container's own.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// app is what every command has at hand.
type app struct {
	root    string // where images and containers are kept
	verbose bool
}

// Main runs porthole with its arguments (without the program's name) and returns the exit code.
func Main(args []string) int {
	sys.Slack()
	runtime.MemProfileRate = 0 // each sample walks the stack
	deepen()
	a := &app{}
	cmd := a.command(args)
	cmd.SetArgs(args)
	ran, err := cmd.ExecuteC()
	if err == nil {
		return 0
	}
	var own exitError
	if errors.As(err, &own) {
		return int(own)
	}
	name := strings.TrimPrefix(strings.TrimPrefix(ran.CommandPath(), "porthole"), " ")
	if name != "" {
		name += ": "
	}
	fmt.Fprintf(os.Stderr, "porthole: %s%v\n", name, err)
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		return coded.ExitCode()
	}
	return exitOurs
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
		Args:              cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
	}
	root.PersistentFlags().StringVar(&a.root, "root", defaultRoot(), "where images and containers are kept")
	root.PersistentFlags().BoolVar(&a.verbose, "verbose", false, "say what is done, and how long each step takes")
	all := []struct {
		name string
		make func() *cobra.Command
	}{
		{"run", a.run}, {"exec", a.exec}, {"ps", a.ps}, {"kill", a.kill}, {"rm", a.rm}, {"stop", a.stop},
		{"wait", a.wait}, {"logs", a.logs}, {"inspect", a.inspect},
		{"pull", a.pull}, {"load", a.load}, {"import", a.importCmd}, {"images", a.images}, {"rmi", a.rmi},
		{"why", a.why}, {"plan", a.plan}, {"profile", a.profile}, {"caps", a.caps}, {"info", a.info},
		{"version", a.versionCmd}, {"monitor", a.monitor},
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
	return root
}

func unknownCommand(cmd *cobra.Command, name string) error {
	msg := fmt.Sprintf("unknown command %q", name)
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		msg += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return errors.New(msg + " (porthole --help lists them)")
}

// defaultRoot is /var/lib/porthole for root, and the user's own data directory otherwise.
func defaultRoot() string {
	if os.Geteuid() == 0 {
		return "/var/lib/porthole"
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "porthole")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = fmt.Sprintf("/tmp/porthole-%d", os.Geteuid())
	}
	return filepath.Join(home, ".local/share/porthole")
}

// engine opens the engine on this machine.
func (a *app) engine() (*engine.Engine, error) {
	f, err := probe.Facts()
	if err != nil {
		return nil, err
	}
	return engine.Open(a.root, f, warn)
}

// warn tells the user something that does not stop the command.
func warn(msg string) { fmt.Fprintln(os.Stderr, "porthole: warning:", msg) }

// readFile reads a file that the user named; "-" is standard input.
func readFile(name string) ([]byte, error) {
	if name == "-" {
		return readAll(os.Stdin)
	}
	return os.ReadFile(name)
}
