// Package fast is what a container's start needs of the command line: `run`, `exec` and the monitor of a container
// in the background. The program `porthole` is this package; whatever else people type, it leaves to the whole
// program (whole.go), which is on internal/cli. So a start is not charged for linking registries, eBPF and help texts.
package fast

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"porthole/internal/engine"
	"porthole/internal/host/image"
	"porthole/internal/host/probe"
	"porthole/internal/host/sys"
	"porthole/workload/dialect"
)

// Exit codes of our own, Docker's and the shell's.
const (
	ExitOurs        = 125 // porthole itself failed or refused
	ExitNotRunnable = 126 // the command is there and can't be run
	ExitNotFound    = 127 // the command isn't there
)

// ExitError carries an exit code that is not an error of ours, the container's own.
type ExitError int

func (e ExitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// Exited is a program's exit code as a command's result.
func Exited(code int) error {
	if code == 0 {
		return nil
	}
	return ExitError(code)
}

// Code prints the error of the command verb, if it is one of ours, and returns the exit code.
func Code(verb string, err error) int {
	if err == nil {
		return 0
	}
	var own ExitError
	if errors.As(err, &own) {
		return int(own)
	}
	if verb != "" {
		verb += ": "
	}
	fmt.Fprintf(os.Stderr, "porthole: %s%v\n", verb, err)
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		return coded.ExitCode()
	}
	return ExitOurs
}

// App is what every command has at hand.
type App struct {
	Root     string // where images and containers are kept
	Verbose  bool
	Registry image.Registry // nil: images that aren't here are another program's affair
}

// Engine opens the engine on this machine.
func (a *App) Engine() (*engine.Engine, error) {
	f, err := probe.Facts()
	if err != nil {
		return nil, err
	}
	e, err := engine.Open(a.Root, f, Warn)
	if err != nil {
		return nil, err
	}
	e.Registry = a.Registry
	return e, nil
}

// Begin readies a process for a short life.
func Begin() {
	sys.Slack()
	runtime.MemProfileRate = 0 // each sample walks the stack
	deepen()
}

// deepen makes room on the stack at once. Left to grow by doubling, it is copied four times on the way down to
// where containers are made, each time with more on it.
//
//go:noinline
func deepen() byte {
	var room [48 << 10]byte
	return room[len(os.Args)]
}

// Main runs porthole with its arguments (without the program's name) and returns the exit code.
func Main(args []string) int {
	Begin()
	a, rest, ok := globals(args)
	if !ok || len(rest) == 0 {
		return whole()
	}
	verb := rest[0]
	err := a.carry(verb, rest[1:])
	if errors.Is(err, errWhole) || errors.Is(err, image.ErrNoRegistry) || errors.Is(err, image.ErrCompressed) {
		return whole()
	}
	return Code(verb, err)
}

// globals reads the flags before the verb. ok is false where they are for the whole program to judge.
func globals(args []string) (a *App, rest []string, ok bool) {
	a = &App{Root: DefaultRoot()}
	for len(args) > 0 {
		switch {
		case args[0] == "--verbose":
			a.Verbose = true
		case args[0] == "--root" && len(args) > 1:
			a.Root, args = args[1], args[1:]
		case strings.HasPrefix(args[0], "--root="):
			a.Root = strings.TrimPrefix(args[0], "--root=")
		case args[0] != "" && args[0][0] == '-':
			return a, nil, false
		default:
			return a, args, true
		}
		args = args[1:]
	}
	return a, nil, true
}

// errWhole says that a command line is the whole program's.
var errWhole = errors.New("not done here")

// carry carries out a verb of this program. What it doesn't take, mistakes among it, is errWhole: nothing
// has been done then.
func (a *App) carry(verb string, args []string) error {
	fs := pflag.NewFlagSet(verb, pflag.ContinueOnError)
	fs.SetInterspersed(false)
	fs.Usage = func() {}
	fs.StringVar(&a.Root, "root", a.Root, "")
	fs.BoolVar(&a.Verbose, "verbose", a.Verbose, "")
	switch verb {
	case "run":
		flags := dialect.RunFlags(fs)
		if fs.Parse(args) != nil {
			return errWhole
		}
		r, err := flags.Read(fs.Args(), outside())
		if err != nil {
			return errWhole
		}
		return a.Run(context.Background(), r)
	case "exec":
		flags := dialect.ExecFlags(fs)
		if fs.Parse(args) != nil {
			return errWhole
		}
		x, err := flags.Read(fs.Args(), outside())
		if err != nil {
			return errWhole
		}
		return a.Exec(context.Background(), x)
	case "monitor":
		if fs.Parse(args) != nil || fs.NArg() != 1 {
			return errWhole
		}
		return a.Monitor(context.Background(), fs.Arg(0))
	}
	return errWhole
}

// outside is Outside without standard input: it can be read once, perhaps by the whole program.
func outside() dialect.Outside {
	o := Outside()
	o.ReadFile = func(name string) ([]byte, error) {
		if name == "-" {
			return nil, errWhole
		}
		return os.ReadFile(name)
	}
	return o
}

// DefaultRoot is /var/lib/porthole for root, and the user's own data directory otherwise.
func DefaultRoot() string {
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

// Warn tells the user something that does not stop the command.
func Warn(msg string) { fmt.Fprintln(os.Stderr, "porthole: warning:", msg) }

// Outside is what a command line may refer to: this process's environment, files and directory.
func Outside() dialect.Outside {
	dir, _ := os.Getwd()
	return dialect.Outside{Env: os.LookupEnv, ReadFile: ReadFile, Dir: dir}
}

// ReadFile reads a file that the user named; "-" is standard input.
func ReadFile(name string) ([]byte, error) {
	if name == "-" {
		return ReadAll(os.Stdin)
	}
	return os.ReadFile(name)
}

// maxInput bounds what is read from standard input.
const maxInput = 64 << 20

// ReadAll reads standard input, 64 MiB at most.
func ReadAll(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if len(data) > maxInput {
		return nil, fmt.Errorf("standard input is larger than %d MiB", maxInput>>20)
	}
	return data, err
}

// IsTerminal says whether f is a terminal.
func IsTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// Progress shows how an image comes in: bars on a terminal, lines elsewhere.
func Progress(quiet bool) image.Progress {
	if quiet {
		return image.Quiet{}
	}
	columns := 0
	if size, err := unix.IoctlGetWinsize(int(os.Stderr.Fd()), unix.TIOCGWINSZ); err == nil {
		columns = int(size.Col)
	}
	return image.NewProgress(os.Stderr, columns)
}
