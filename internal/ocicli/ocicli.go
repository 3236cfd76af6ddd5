// Package ocicli is the command that engines call: the verbs of an OCI runtime with runc's
// options, error lines, log records and exit codes, which clients parse.
//
// One file holds verbs that belong together; ocicli.go in front of them reads the global options and
// tells of failure, config.go makes a container's configuration of its bundle. Start-up is part of every
// container's cost, so no command framework is loaded.
package ocicli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"porthole/facts"
	"porthole/internal/host/probe"
	"porthole/internal/host/sys"
	"porthole/near"
)

// version is set by the linker.
var version = "unknown"

// name is ours, in messages and logs.
const name = "porthole-oci"

// app is what every verb has at hand.
type app struct {
	root    string // where states are kept
	named   bool   // root is what the command line says
	systemd bool
	// ungrouped says that containers get no control group.
	ungrouped bool
	log       logger
	told      error // why nobody could be given a filter's listener
}

// verb is one command. run gets what follows its name.
type verb struct {
	name, args, short string
	run               func(*app, *flags) error
}

func verbs() []verb {
	return []verb{
		{"create", "ID", "make a container, up to its start", (*app).create},
		{"start", "ID", "start the program of a container that create made", (*app).start},
		{"run", "ID", "create and start", (*app).run},
		{"state", "ID", "print where a container stands", (*app).state},
		{"kill", "ID [SIGNAL]", "send a signal to a container's program", (*app).kill},
		{"delete", "ID", "take away what a container has left", (*app).delete},
		{"exec", "ID COMMAND [ARG...]", "run one more process in a container", (*app).exec},
		{"list", "", "list containers", (*app).list},
		{"ps", "ID [PS-OPTIONS]", "list the processes of a container", (*app).ps},
		{"pause", "ID", "hold every process of a container", (*app).pause},
		{"resume", "ID", "let them go on", (*app).resume},
		{"update", "ID", "change a container's limits", (*app).update},
		{"events", "ID", "print what a container uses", (*app).events},
		{"spec", "", "write a config.json to begin with", (*app).spec},
		{"features", "", "print what this runtime can do", (*app).features},
		{"checkpoint", "ID", "not supported", refused("checkpoint")},
		{"restore", "ID", "not supported", refused("restore")},
		{"version", "", "print the version", (*app).version},
	}
}

func refused(what string) func(*app, *flags) error {
	return func(_ *app, f *flags) error {
		if _, err := f.parse(f.args, true); errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errors.New(what + " is not supported: it needs CRIU, whose restored processes no plan of ours has made")
	}
}

// exitError is an exit code that says all there is to say: the program's own.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// codedError fails with a code other than 1.
type codedError struct {
	error
	code int
}

func (e codedError) Unwrap() error { return e.error }

// Main runs one command, given its arguments without the program's name, and returns its exit code.
func Main(args []string) int {
	sys.Slack()
	runtime.MemProfileRate = 0
	debug.SetGCPercent(-1) // a command lives for milliseconds; events, which may not, turns it on again
	deepen()
	a := &app{log: logger{format: "text"}}
	err := a.main(args)
	var own exitError
	var coded codedError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &own):
		return int(own)
	}
	a.log.fatal(err)
	if errors.As(err, &coded) {
		return coded.code
	}
	return 1
}

// deepen makes room on the stack at once. Left to grow by doubling, it is copied four times on the way down to
// where containers are made, each time with more on it.
//
//go:noinline
func deepen() byte {
	var room [48 << 10]byte
	return room[len(os.Args)]
}

func (a *app) main(args []string) error {
	g := newFlags("", "[global options] COMMAND")
	g.StringVar(&a.root, "root", "", "`directory` where the state of containers is kept")
	g.StringVar(&a.log.path, "log", "", "`file` to log to")
	g.StringVar(&a.log.format, "log-format", "text", "of the log: text or json")
	g.BoolVar(&a.log.debug, "debug", false, "log more")
	g.BoolVar(&a.systemd, "systemd-cgroup", false, "have systemd make control groups; linux.cgroupsPath is slice:prefix:name")
	g.String("rootless", "auto", "accepted; what an ordinary user can do is found out")
	manager := g.String("cgroup-manager", "", "cgroupfs, systemd, or disabled: a container stays in the group that we are in")
	g.String("criu", "", "accepted, of no use")
	show := g.Bool("version", false, "print the version")
	g.alias("version", "v")
	rest, err := g.parse(args, false)
	if err != nil {
		return a.helped(g, err)
	}
	// crun names the kind of log in front.
	if kind, path, _ := strings.Cut(a.log.path, ":"); kind == "file" {
		a.log.path = path
	} else if kind == "journald" || kind == "syslog" {
		a.log.path = ""
		return fmt.Errorf("--log: %s is not supported: want a file", kind)
	}
	switch {
	case *show:
		return a.version(nil)
	case a.log.format != "text" && a.log.format != "json":
		return fmt.Errorf("unknown log-format %q", a.log.format)
	case *manager == "disabled" && a.systemd:
		return errors.New("--cgroup-manager=disabled: with --systemd-cgroup")
	case *manager != "" && *manager != "cgroupfs" && *manager != "systemd" && *manager != "disabled":
		return fmt.Errorf("--cgroup-manager: unknown manager %q", *manager)
	}
	a.systemd = a.systemd || *manager == "systemd"
	a.ungrouped = *manager == "disabled"
	if a.named = a.root != ""; !a.named {
		a.root = defaultRoot()
	}
	if a.root, err = filepath.Abs(a.root); err != nil {
		return err
	}
	if len(rest) == 0 || rest[0] == "help" {
		usage(os.Stdout, g)
		return nil
	}
	for _, v := range verbs() {
		if v.name == rest[0] {
			f := newFlags(v.name, strings.TrimSpace("[options] "+v.args))
			f.args, f.short = rest[1:], v.short
			return a.helped(f, v.run(a, f))
		}
	}
	var names []string
	for _, v := range verbs() {
		names = append(names, v.name)
	}
	msg := fmt.Sprintf("unknown command %q", rest[0])
	if n := near.Names(rest[0], names, 1); len(n) > 0 {
		msg += "; did you mean " + n[0] + "?"
	}
	return errors.New(msg)
}

// helped prints help where that was asked for.
func (a *app) helped(f *flags, err error) error {
	if !errors.Is(err, flag.ErrHelp) {
		return err
	}
	usage(os.Stdout, f)
	return nil
}

func usage(w io.Writer, f *flags) {
	fmt.Fprintf(w, "usage: %s\n", strings.Join(strings.Fields(name+" "+f.Name()+" "+f.usage), " "))
	if f.short != "" {
		fmt.Fprintf(w, "%s\n", f.short)
	} else {
		fmt.Fprintln(w, "\ncommands:")
		for _, v := range verbs() {
			fmt.Fprintf(w, "  %-11s %s\n", v.name, v.short)
		}
	}
	fmt.Fprintln(w, "\noptions:")
	f.SetOutput(w)
	f.PrintDefaults()
}

func (a *app) version(*flags) error {
	// The last line is crun's, with what that calls optional and we have.
	fmt.Printf("%s version %s\nspec: %s\ngo: %s\n+SYSTEMD +SELINUX +APPARMOR +CAP +SECCOMP +EBPF\n", name, version, specs.Version, runtime.Version())
	return nil
}

// defaultRoot is a directory that a reboot empties: an ordinary user's own one, where there is one. In a user
// namespace of theirs, in which rootless engines call us, they are root; but for images that say USER=root, and
// mean what they have of their own (runc's shouldHonorXDGRuntimeDir).
func defaultRoot() string {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	mine := filepath.IsAbs(dir)
	if os.Geteuid() == 0 {
		if !mine || os.Getenv("USER") == "root" || !inUserNS() {
			return "/run/" + name
		}
	}
	if mine {
		return filepath.Join(dir, name)
	}
	return fmt.Sprintf("/tmp/%s-%d", name, os.Geteuid())
}

// inUserNS says that our ids are not those of the whole machine (user_namespaces(7)).
func inUserNS() bool {
	ids, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(ids)), " ") != "0 0 4294967295"
}

// facts asks the machine what it is.
func (a *app) facts() (facts.Facts, error) { return probe.Facts() }

// dir is a container's directory. Its ID comes from outside.
func (a *app) dir(id string) (string, error) {
	if err := checkID(id); err != nil {
		return "", err
	}
	return filepath.Join(a.root, id), nil
}

var errID = errors.New("invalid container ID format")

// checkID lets pass what runc does (validateID, libcontainer/factory_linux.go), but for a dot in front,
// which is ours.
func checkID(id string) error {
	if id == "" {
		return errors.New("container id cannot be empty")
	}
	for i, c := range []byte(id) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '+', c == '-', c == '.' && i > 0:
		default:
			return fmt.Errorf("%w: %q", errID, id)
		}
	}
	if len(id) > 255-1 {
		return fmt.Errorf("%w: longer than a file's name may be", errID)
	}
	return nil
}

// writePid puts a process's number into a file, at once or not at all: clients watch for it.
func writePid(file string, pid int) error {
	if file == "" {
		return nil
	}
	tmp := filepath.Join(filepath.Dir(file), "."+filepath.Base(file))
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_EXCL|unix.O_SYNC, 0o666)
	if err == nil {
		_, err = fmt.Fprintf(f, "%d", pid)
		if err = errors.Join(err, f.Close()); err == nil {
			err = os.Rename(tmp, file)
		}
		if err != nil {
			os.Remove(tmp)
		}
	}
	if err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	return nil
}
