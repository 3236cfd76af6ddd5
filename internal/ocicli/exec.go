package ocicli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/internal/engine/container"
	"porthole/internal/host/nofile"
	"porthole/internal/host/sys"
)

// session is one exec as its command line says it.
type session struct {
	process, user, cwd, apparmor, label string
	console, pidFile, pidfdSocket       string
	env, caps, cgroup                   *many
	groups                              *many
	tty, detach, paused                 bool
	nnp                                 *bool // nil: as the container has it
	preserve                            int
}

// execFailed is runc's exit code for an exec that did not come to run its program.
const execFailed = 255

func (a *app) exec(f *flags) error {
	var x session
	f.StringVar(&x.process, "process", "", "`file` with the process, as config.json has it")
	f.alias("process", "p")
	f.StringVar(&x.user, "user", "", "`UID[:GID]`")
	f.alias("user", "u")
	f.StringVar(&x.cwd, "cwd", "", "working `directory`")
	x.env = f.list("env", "`NAME=VALUE` to add to the environment")
	f.alias("env", "e")
	x.groups = f.list("additional-gids", "further `GID`s")
	f.alias("additional-gids", "g")
	x.caps = f.list("cap", "`capability` to add to the bounding, effective and permitted sets")
	f.alias("cap", "c")
	f.BoolVar(&x.tty, "tty", false, "give it a terminal")
	f.alias("tty", "t")
	f.BoolVar(&x.detach, "detach", false, "leave it to itself once it runs")
	f.alias("detach", "d")
	f.BoolFunc("no-new-privs", "set no_new_privs", func(s string) error {
		on, err := strconv.ParseBool(s)
		x.nnp = &on
		return err
	})
	f.StringVar(&x.console, "console-socket", "", "unix `socket` to send the master of its terminal to")
	f.StringVar(&x.pidFile, "pid-file", "", "`file` to write its number to")
	f.StringVar(&x.pidfdSocket, "pidfd-socket", "", "unix `socket` to send a pidfd of it to")
	f.StringVar(&x.apparmor, "apparmor", "", "AppArmor `profile`")
	f.StringVar(&x.label, "process-label", "", "SELinux `label`")
	x.cgroup = f.list("cgroup", "`[CONTROLLER:]PATH` of a group beneath the container's, for the process to be in")
	f.IntVar(&x.preserve, "preserve-fds", 0, "hand on so many `files` from 3 on")
	f.BoolVar(&x.paused, "ignore-paused", false, "even in a paused container")
	rest, err := f.parse(f.args, false)
	if err != nil {
		return err
	}
	if len(rest) == 0 || len(rest) == 1 && x.process == "" {
		return fmt.Errorf("exec: want: %s exec %s", name, f.usage)
	}
	code, err := a.join(rest[0], rest[1:], x)
	if err != nil {
		return codedError{failed("exec", err), execFailed}
	}
	if code != 0 {
		return exitError(code)
	}
	return nil
}

func (a *app) join(id string, args []string, x session) (int, error) {
	s, dir, fa, err := a.open(id)
	if err != nil {
		return 0, err
	}
	switch {
	case s.Status == container.Stopped:
		return 0, errors.New("cannot exec in a stopped container")
	case s.Status == container.Paused && !x.paused:
		return 0, errors.New("cannot exec in a paused container (use --ignore-paused to override)")
	}
	b, err := keptBundle(dir, s, fa)
	if err != nil {
		return 0, err
	}
	p, err := x.read(b.spec.Process, args)
	if err != nil {
		return 0, err
	}
	switch {
	case p.Terminal && x.detach && x.console == "":
		return 0, errors.New("cannot allocate tty if runc will detach without setting console socket")
	case x.console != "" && !(p.Terminal && x.detach):
		return 0, errors.New("cannot use console socket if runc will not detach or allocate tty")
	}
	p.Env, err = environ(p.Env, func() string { return homeIn("/proc/"+strconv.Itoa(s.Pid)+"/root", p.User.UID) })
	if err != nil {
		return 0, err
	}
	cfg := container.ExecConfig{
		Process: p, Facts: fa, Policy: b.sec, Filters: filters(), Linux: b.spec.Linux, NoFile: nofile.Limit(),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, ChownStdio: givable(),
		PauseAfter: pauseAfter, Cgroup: *x.cgroup,
	}
	if b.listens() {
		cfg.Agent = func(pid int, l *os.File) { a.told = a.notify(b, s, container.Running, pid, l) }
	}
	if cfg.Inherit, err = inherited(x.preserve, &p.Env); err != nil {
		return 0, err
	}
	var relay *sys.Relay
	if !x.detach {
		if relay, err = sys.Catch(passed); err != nil {
			return 0, err
		}
		defer relay.Stop()
	}
	proc, err := s.Exec(context.Background(), cfg)
	if err != nil {
		return 0, err
	}
	a.log.note(proc.Notes)
	return a.attend(proc, p.Terminal, x, relay)
}

// attend tells the client of a process that runs, and stays with it unless it is to be left.
func (a *app) attend(proc *container.Process, tty bool, x session, relay *sys.Relay) (int, error) {
	var term *terminal
	err := a.told
	switch {
	case err != nil || !tty:
	case x.console != "":
		err = sendConsole(func() (*os.File, error) { return proc.Console(), nil }, x.console)
	default:
		term, err = joinTerminal(proc.Console())
	}
	if err == nil {
		err = sendPidfd(x.pidfdSocket, "setns", proc.Pidfd())
	}
	if err == nil {
		err = writePid(x.pidFile, proc.Pid())
	}
	if err != nil {
		proc.Signal(killSignal)
		proc.Wait()
		if term != nil {
			term.close()
		}
		return 0, err
	}
	if x.detach {
		return 0, nil
	}
	if err := follow(relay, proc.Pidfd(), proc.Signal); err != nil {
		return 0, err
	}
	exit, err := proc.Wait()
	if term != nil {
		term.finish()
	}
	return exit.Code, err
}

// read is the process to run: of a file, or the container's own with what the command line changes.
func (x *session) read(own *specs.Process, args []string) (*specs.Process, error) {
	p := &specs.Process{}
	if x.process != "" {
		data, err := os.ReadFile(x.process)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(data, p); err != nil {
			return nil, fmt.Errorf("%s: %w", x.process, where(data, err))
		}
		if len(p.Args) == 0 {
			return nil, fmt.Errorf("%s: args: empty: there is nothing to run", x.process)
		}
		if p.OOMScoreAdj == nil {
			p.OOMScoreAdj = own.OOMScoreAdj
		}
		return p, nil
	}
	*p = *own
	p.Args, p.Terminal, p.ConsoleSize = args, x.tty, nil
	p.Env = append(slices.Clone(own.Env), *x.env...)
	if x.nnp != nil {
		p.NoNewPrivileges = *x.nnp
	}
	if x.cwd != "" {
		p.Cwd = x.cwd
	}
	if x.apparmor != "" {
		p.ApparmorProfile = x.apparmor
	}
	if x.label != "" {
		p.SelinuxLabel = x.label
	}
	if len(*x.caps) > 0 {
		c := specs.LinuxCapabilities{}
		if own.Capabilities != nil {
			c = *own.Capabilities
		}
		c.Bounding = append(slices.Clone(c.Bounding), *x.caps...)
		c.Effective = append(slices.Clone(c.Effective), *x.caps...)
		c.Permitted = append(slices.Clone(c.Permitted), *x.caps...)
		// As runc does: without an inheritable set none can be ambient (cap_task_prctl, security/commoncap.c).
		if c.Inheritable != nil {
			c.Ambient = append(slices.Clone(c.Ambient), *x.caps...)
		}
		p.Capabilities = &c
	}
	if x.user != "" {
		uid, gid, both := strings.Cut(x.user, ":")
		var err error
		if p.User.UID, err = number(uid); err != nil {
			return nil, fmt.Errorf("--user: %w", err)
		}
		if both {
			if p.User.GID, err = number(gid); err != nil {
				return nil, fmt.Errorf("--user: %w", err)
			}
		}
	}
	for _, g := range *x.groups {
		gid, err := number(g)
		if err != nil {
			return nil, fmt.Errorf("--additional-gids: %w", err)
		}
		p.User.AdditionalGids = append(slices.Clone(p.User.AdditionalGids), gid)
	}
	return p, nil
}

func number(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 1<<32-1 {
		return 0, fmt.Errorf("%q is not a numeric id", s)
	}
	return uint32(n), nil
}
