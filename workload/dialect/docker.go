// Package dialect reads and writes the ways in which a workload may be said, one file each.
//
// Docker's `run` and `exec` command lines come first: docker.go is the way in, flags.go the
// table of every flag, values.go and mounts.go the grammars of their values, write.go the
// way back. Nothing is ignored: what porthole does not do is refused by name.
package dialect

import (
	"errors"
	"fmt"
	"path"

	"github.com/spf13/pflag"

	"porthole/near"
	"porthole/workload"
)

// Outside is what a command line may refer to beyond itself. A nil function knows nothing.
type Outside struct {
	Env      func(name string) (string, bool)  // the caller's environment, for -e NAME
	ReadFile func(path string) ([]byte, error) // for --env-file, --label-file and seccomp=FILE
	Dir      string                            // the caller's directory, for -v ./here:/there
}

func (o Outside) env(name string) (string, bool) {
	if o.Env == nil {
		return "", false
	}
	return o.Env(name)
}

func (o Outside) readFile(name string) ([]byte, error) {
	if o.ReadFile == nil {
		return nil, fmt.Errorf("open %s: no files here", name)
	}
	return o.ReadFile(name)
}

func (o Outside) abs(p string) string {
	if path.IsAbs(p) {
		return path.Clean(p)
	}
	return path.Join("/", o.Dir, p)
}

// Run is a whole `run` command line: the workload, and how it is to be run.
type Run struct {
	Workload workload.Workload
	Detach   bool // -d: in the background
	Remove   bool // --rm: nothing is left when it ends
}

// Docker reads the arguments that follow `docker run`: flags, image, command.
// The error is Docker's in substance; a flag that porthole does not support is a *Refused.
func Docker(args []string, o Outside) (Run, error) {
	fs := pflag.NewFlagSet("run", pflag.ContinueOnError)
	fs.SortFlags = true
	f := RunFlags(fs)
	if err := fs.Parse(args); err != nil {
		return Run{}, FlagError(fs, err)
	}
	return f.Read(fs.Args(), o)
}

// DockerExec reads the arguments that follow `docker exec`: flags, container, command.
func DockerExec(args []string, o Outside) (workload.Exec, error) {
	fs := pflag.NewFlagSet("exec", pflag.ContinueOnError)
	f := ExecFlags(fs)
	if err := fs.Parse(args); err != nil {
		return workload.Exec{}, FlagError(fs, err)
	}
	return f.Read(fs.Args(), o)
}

// Flags are Docker's flags, bound to a flag set and filled when that is parsed.
type Flags struct {
	fs  *pflag.FlagSet
	run Run

	// What needs Outside waits here until Read.
	env, envFiles, labels, labelFiles []string
	security                          []string
	mounts                            []asked
	entrypoint                        string
}

// asked is a mount as it was said, and for --mount as it was read.
type asked struct {
	flag, value string
	mount       workload.Mount
}

// RunFlags binds the flags of `run` to fs, those that are refused too (hidden from help).
// As with Docker, flags end at the image.
func RunFlags(fs *pflag.FlagSet) *Flags { return bind(fs, runFlags()) }

// ExecFlags binds the flags of `exec` to fs.
func ExecFlags(fs *pflag.FlagSet) *Exec { return &Exec{bind(fs, execFlags())} }

// Exec are the flags of `exec`, bound to a flag set.
type Exec struct{ f *Flags }

// Read yields what the parsed flags and the arguments after them (image, command) say.
func (f *Flags) Read(args []string, o Outside) (Run, error) {
	if len(args) == 0 {
		return Run{}, fmt.Errorf("an image is required: %s [OPTIONS] IMAGE [COMMAND] [ARG...]", f.fs.Name())
	}
	r := f.run
	w := &r.Workload
	w.Image = args[0]
	if len(args) > 1 {
		w.Args = append([]string(nil), args[1:]...)
	}
	if w.Name != "" && !workload.ValidName(w.Name) {
		return Run{}, fmt.Errorf("invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", w.Name)
	}
	if f.fs.Changed("entrypoint") {
		w.Entrypoint = []string{}
		if f.entrypoint != "" {
			w.Entrypoint = []string{f.entrypoint}
		}
	}
	if w.Dir != "" && !path.IsAbs(w.Dir) {
		return Run{}, fmt.Errorf("the working directory '%s' is invalid, it needs to be an absolute path", w.Dir)
	}
	if len(w.Hostname) > 64 { // HOST_NAME_MAX, limits.h
		return Run{}, fmt.Errorf("invalid hostname %q: longer than 64 bytes", w.Hostname)
	}
	var err error
	if w.Env, err = environment(f.envFiles, f.env, o); err != nil {
		return Run{}, err
	}
	if w.Labels, err = labels(f.labelFiles, f.labels, o); err != nil {
		return Run{}, err
	}
	if err := securityOpts(&w.Security, f.security, o); err != nil {
		return Run{}, err
	}
	if err := f.readMounts(w, o); err != nil {
		return Run{}, err
	}
	if err := checkLimits(w.Limits); err != nil {
		return Run{}, err
	}
	return r, nil
}

// Read yields what the parsed flags and the arguments after them (container, command) say.
func (e *Exec) Read(args []string, o Outside) (workload.Exec, error) {
	if len(args) < 2 {
		return workload.Exec{}, errors.New("a container and a command are required: exec [OPTIONS] CONTAINER COMMAND [ARG...]")
	}
	f := e.f
	w := f.run.Workload
	x := workload.Exec{
		Container: args[0], Args: append([]string(nil), args[1:]...),
		Dir: w.Dir, User: w.User, TTY: w.TTY, Stdin: w.Stdin, Detach: f.run.Detach,
		Privileged: w.Security.Privileged, CapAdd: w.Security.CapAdd, CapDrop: w.Security.CapDrop,
	}
	if x.Dir != "" && !path.IsAbs(x.Dir) {
		return workload.Exec{}, fmt.Errorf("the working directory '%s' is invalid, it needs to be an absolute path", x.Dir)
	}
	var err error
	if x.Env, err = environment(f.envFiles, f.env, o); err != nil {
		return workload.Exec{}, err
	}
	var s workload.Security
	if err := securityOpts(&s, f.security, o); err != nil {
		return workload.Exec{}, err
	}
	if s.AppArmor != "" || s.Labels != nil || s.SystemPaths != "" || s.WritableCgroups != nil {
		return workload.Exec{}, errors.New("--security-opt takes seccomp and no-new-privileges only: the rest belongs to the container")
	}
	x.Seccomp, x.SeccompDoc, x.NoNewPrivs = s.Seccomp, s.SeccompDoc, s.NoNewPrivs
	return x, nil
}

// Refused is a flag, or one of its values, that Docker has and porthole does not.
type Refused struct {
	Flag   string // "--gpus"
	Value  string // "" refuses the flag whatever its value
	Reason string
}

func (r *Refused) Error() string {
	if r.Value != "" {
		return fmt.Sprintf("%s %s is not supported: %s", r.Flag, r.Value, r.Reason)
	}
	return fmt.Sprintf("%s is not supported: %s", r.Flag, r.Reason)
}

// FlagError makes a flag set's parse error ready to be read: a refusal stands for itself, and
// an unknown flag is told the names near it. Other errors come back as they are.
func FlagError(fs *pflag.FlagSet, err error) error {
	var refused *Refused
	if errors.As(err, &refused) {
		return refused
	}
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "" {
		if best := nearest(fs, unknown.GetSpecifiedName()); best != "" {
			return fmt.Errorf("%w; did you mean %s?", err, best)
		}
	}
	return err
}

// nearest is the visible flag whose name is closest to name, or "".
func nearest(fs *pflag.FlagSet, name string) string {
	var names []string
	fs.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	if best := near.Names(name, names, 1); len(best) > 0 {
		return "--" + best[0]
	}
	return ""
}
